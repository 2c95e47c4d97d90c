"""From logits to tags: calibration, profiles of thresholds, and labels that stay unsure."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.special import expit

from sct_hf import MultiLabelImageClassificationPipeline, SCTConfig, build_model, encode_labels, image_processor
from sct_hf.model.outputs_sct import label_scores, label_thresholds

NAMES = ["animal", "cat", "boat"]
PAIRS = {"slope": [0.5, 2.0, 1.0], "shift": [1.0, -1.0, 0.0]}


def config(**fields: Any) -> SCTConfig:
    return SCTConfig(id2label=dict(enumerate(NAMES)), **fields)


@given(st.lists(st.floats(-30, 30), min_size=3, max_size=3), st.sampled_from([torch.float32, torch.bfloat16]))
def test_scores_are_those_of_the_formula(logits: list[float], dtype: torch.dtype) -> None:
    given_logits = torch.tensor([logits]).to(dtype)
    found = label_scores(given_logits, config(calibration=PAIRS))
    wanted = expit(np.array(PAIRS["slope"]) * given_logits.double().numpy() + np.array(PAIRS["shift"]))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-12)


def test_without_calibration_scores_are_the_sigmoid() -> None:
    logits = torch.tensor([[-3.0, 0.0, 7.0]])
    assert torch.equal(label_scores(logits, config()), logits.sigmoid())
    assert torch.equal(label_scores(logits, SimpleNamespace()), logits.sigmoid())  # another model's configuration


def test_other_labels_have_the_calibration_of_their_name() -> None:
    found = label_scores(torch.zeros(1, 3), config(calibration=PAIRS), ["ship", "cat", "animal"])
    np.testing.assert_allclose(found[0].numpy(), expit([0.0, -1.0, 1.0]), rtol=1e-6)


def test_profiles() -> None:
    profiles = {"balanced": [0.5, 0.25, 0.75], "precision=0.9": [0.5, None, 0.875]}
    made = config(thresholds=profiles)
    assert label_thresholds(made) == [0.5, 0.25, 0.75]
    assert label_thresholds(made, "precision=0.9") == [0.5, np.inf, 0.875]
    assert label_thresholds(config()) is None
    assert label_thresholds(config(thresholds=[0.1, 0.2, 0.3])) == [0.1, 0.2, 0.3]
    with pytest.raises(ValueError, match=r"profile is 'recall=0.9': choose from balanced, precision=0.9"):
        label_thresholds(made, "recall=0.9")
    with pytest.raises(ValueError, match="profile is 'balanced': the checkpoint has none"):
        label_thresholds(config(thresholds=[0.1, 0.2, 0.3]), "balanced")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"calibration": {"slope": [1, 1, 1]}}, "give slopes > 0 and shifts, one for each of the 3 labels"),
        ({"calibration": {"slope": [1, 1, 0], "shift": [0, 0, 0]}}, "give slopes > 0"),
        ({"calibration": {"slope": [1, 1], "shift": [0, 0]}}, "give slopes > 0"),
        ({"calibration": {"slope": [1, 1, 1], "shift": [0, 0, float("nan")]}}, "give slopes > 0"),
        ({"calibration": PAIRS, "label_parents": {"cat": ["animal"]}}, "'cat' and its parents need one slope"),
        ({"thresholds": {}}, "name a profile"),
        ({"thresholds": {"balanced": [0.5, 0.5, 2.0]}}, "give one number in"),
        ({"thresholds": {"b": [None, 0.5, 0.5]}, "label_parents": {"cat": ["animal"]}}, "'animal' needs one of 0.5"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(StrictDataclassError, match=told):
        config(**fields)


def test_a_hierarchy_takes_one_pair_for_its_labels_and_unreachable_children() -> None:
    pairs = {"slope": [0.5, 0.5, 2.0], "shift": [0.1, 0.1, 0.0]}
    made = config(calibration=pairs, thresholds={"p": [0.5, None, 0.5]}, label_parents={"cat": ["animal"]})
    logits = torch.randn(50, 3)
    logits[:, 0] = logits[:, :2].amax(1)  # as the model raises parents
    scores = label_scores(logits, made)
    assert (scores[:, 0] >= scores[:, 1]).all()


def test_channels_follow_from_the_mean() -> None:
    assert config().num_channels == 3
    wide = config(num_channels=4, image_mean=[0.5] * 4, image_std=[0.5] * 4)
    assert wide.num_channels == 4
    assert "num_channels" not in wide.to_dict()
    with pytest.raises(ValueError, match=r"num_channels=4 cannot be used: image_mean has 3 numbers"):
        config(num_channels=4)


@pytest.fixture(scope="module")
def tagger() -> MultiLabelImageClassificationPipeline:
    torch.manual_seed(0)
    model = build_model(
        "test_resnet", NAMES, image_size=64, label_vectors=encode_labels(NAMES, "random:8"), hidden_size=16
    )
    model.config.thresholds = {"balanced": [0.5, 0.25, 0.75], "precision=0.9": [0.5, None, 0.875]}
    return MultiLabelImageClassificationPipeline(
        model=model, image_processor=image_processor(model.config), device="cpu"
    )


def choose(tagger: Any, scores: list[float], **arguments: Any) -> dict[str, bool | None]:
    tags = tagger.postprocess({"scores": torch.tensor([scores])}, **arguments)
    return {tag["label"]: tag.get("unsure") for tag in tags}


def test_a_profile_chooses(tagger: Any) -> None:
    scores = [0.6, 0.99, 0.8]
    assert choose(tagger, scores) == dict.fromkeys(["cat", "boat", "animal"])
    assert choose(tagger, scores, profile="precision=0.9") == {"animal": None}  # a cat is no tag at any score
    assert choose(tagger, scores, profile="precision=0.9", threshold={"cat": 0.9}) == {"cat": None, "animal": None}
    with pytest.raises(ValueError, match="profile is 'x'"):
        tagger(Image.new("RGB", (64, 64)), profile="x")


def test_near_the_threshold_a_tag_is_unsure(tagger: Any) -> None:
    assert choose(tagger, [0.59, 0.36, 0.66], abstain=0.1) == {"boat": True, "animal": True, "cat": False}
    assert choose(tagger, [0.39, 0.14, 0.86], abstain=0.1) == {"boat": False}
    assert choose(tagger, [0.3, 0.13, 0.0], abstain=0.2) == {"animal": True, "cat": True}  # 0.125 is half of 0.25
    assert choose(tagger, [0.0, 0.99, 0.0], abstain=0.1, profile="precision=0.9") == {"cat": True}
    with pytest.raises(ValueError, match="abstain is 2: give a distance of scores from 0 to 1"):
        tagger(Image.new("RGB", (64, 64)), abstain=2)
