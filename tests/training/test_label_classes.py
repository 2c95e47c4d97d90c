"""Runs of heads that hold the backbone's own classifier."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import AutoModelForImageClassification

from sct_hf import encode_labels, load_backbone_classifier
from sct_hf.errors import InputError
from sct_hf.label_text.prototypes import encode_label_classes
from sct_hf.training.loop import train
from sct_hf.training.models import new_model, save_model

LABELS = ["cat", "dog", "wheeled vehicle"]


@pytest.fixture(params=["csra_prototypes", "linear_prototypes"])
def head(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make(tiny: Callable, grounded: dict[str, str]) -> Callable:
    """Make the model of a tiny run with these labels and options, on a file with a classifier."""

    def made(names: list[str], **options: Any) -> Any:
        return new_model(tiny(**grounded | options), names, Accelerator(cpu=True))

    return made


def shares_of(names: list[str], grounded: dict[str, str]) -> Tensor:
    classifier = load_backbone_classifier("test_resnet", grounded["backbone_weights"])
    encoder = grounded["label_encoder"]
    return encode_label_classes(encode_labels(names, encoder), classifier, encoder)


def test_a_run_takes_them_from_the_backbones_weights(head: str, make: Callable, grounded: dict[str, str]) -> None:
    found = make(LABELS, head=head)
    assert torch.equal(found.head.label_classes, shares_of(LABELS, grounded))
    classifier = load_backbone_classifier("test_resnet", grounded["backbone_weights"])
    assert torch.equal(found.head.class_vectors, classifier.centred)
    assert found.config.text_recipe["words"] == LABELS
    assert found.config.head_kwargs == {"num_classes": 1000}


def test_a_head_may_read_text_too(make: Callable, grounded: dict[str, str]) -> None:
    found = make(LABELS, head="recover_match")
    assert torch.equal(found.label_embeddings, encode_labels(LABELS, grounded["label_encoder"]).embeddings)
    assert torch.equal(found.head.label_classes, shares_of(LABELS, grounded))
    assert found.config.text_recipe["words"] == LABELS


def test_a_run_trains_and_scores_as_it_is_loaded(tiny: Callable, grounded: dict[str, str], tmp_path: Path) -> None:
    arguments = tiny(
        head="csra_prototypes",
        **grounded,
        output_dir=tmp_path / "run",
        set={"head_kwargs": {"residual_weight": 0.2}},
    )
    metrics = train(arguments)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "run")
    assert 0 <= metrics["mAP"] <= 1
    assert loaded.config.head_kwargs == {"num_classes": 1000, "residual_weight": 0.2}
    assert torch.equal(loaded.head.label_classes, shares_of(loaded.config.label_names, grounded))


def test_other_labels_get_shares_and_keep_the_class_vectors(head: str, make: Callable, grounded, tmp_path) -> None:
    source = make(LABELS, head=head)
    source.head.classifier.weight.data.normal_()
    save_model(source, tmp_path)
    names = ["goldfish", "cat"]
    found = make(names, head=head, init_checkpoint=tmp_path, backbone_weights="none")
    torch.testing.assert_close(found.head.label_classes, shares_of(names, grounded))
    assert torch.equal(found.head.class_vectors, source.head.class_vectors)
    assert torch.equal(found.head.classifier.weight[1], source.head.classifier.weight[0])


def test_runs_without_a_classifier_or_words_are_refused(head: str, make: Callable) -> None:
    for options, message in (
        ({"backbone_weights": "none"}, "a backbone without weights has no classifier"),
        ({"label_encoder": "random:8"}, "label_encoder='random:8' has none"),
        ({"label_prototypes": "false"}, f"label_prototypes is False: head {head} scores with them; leave it out"),
    ):
        with pytest.raises(InputError, match=message):
            make(LABELS, head=head, **options)
