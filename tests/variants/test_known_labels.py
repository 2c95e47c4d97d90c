"""Known labels: what they change, what they leave alone, and that nothing is learnt from them but by the others."""

import copy
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageClassification, pipeline

from sct_hf import asymmetric_loss, image_processor
from sct_hf.model.backbone_sct import capability
from sct_hf.model.pipeline_sct import MultiLabelImageClassificationPipeline
from sct_hf.model.transport_sct import conditional_transport
from sct_hf.variants import known_labels
from sct_hf.variants.known_labels import SCTWithKnownLabels, draw_known_labels
from tests.model.tiny import LABELS

MakeModel = Callable[..., Any]
STILL = {"dropout": 0.0, "scorer_dropout": 0.0, "aligned_dropout": 0.0}
KNOWN = torch.tensor([[1.0, -1, -1], [-1, 0, math.nan]])


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_attention_and_states_are_all_that_it_adds(make_model: MakeModel) -> None:
    plain, model = make_model(), make_model(SCTWithKnownLabels)
    added = set(model.state_dict()) - set(plain.state_dict())
    assert "sct.label_states.embeddings" in added
    assert {name.split(".")[1] for name in added} == {"label_interaction", "label_states"}
    assert not set(plain.state_dict()) - set(model.state_dict())
    assert model.sct.label_states.embeddings.std().item() == pytest.approx(1, abs=0.3)


def test_nothing_known_and_states_of_zero_say_nothing(make_model: MakeModel) -> None:
    model = make_model(SCTWithKnownLabels)
    expected = model(images()).logits
    nothing = model(images(), known=torch.tensor([[-1, math.nan, -1]] * 2))
    torch.testing.assert_close(nothing.logits, expected)
    # Without a state, to know says nothing to the others.
    torch.nn.init.zeros_(model.sct.label_states.embeddings)
    assert torch.equal(model(images()).logits, expected)
    with_known = model(images(), known=KNOWN).logits
    rest = ~(KNOWN >= 0)
    torch.testing.assert_close(with_known[rest], expected[rest])


def test_known_labels_move_the_others_of_their_own_image_and_speak_for_themselves(make_model: MakeModel) -> None:
    model = make_model(SCTWithKnownLabels)
    before = model(images()).logits
    present, absent = (model(images(), known=torch.tensor([[v, -1, -1], [-1, -1, -1]])).logits for v in (1, 0))
    for logits in (present, absent):
        assert (logits[0, 1:] - before[0, 1:]).abs().min() > 1e-3
        torch.testing.assert_close(logits[1], before[1])
    assert (present[0, 1:] - absent[0, 1:]).abs().min() > 1e-3
    assert present[0, 0].sigmoid() == 1
    assert absent[0, 0].sigmoid() < 1e-6
    assert present.half().isfinite().all()
    branches = model(images(), known=KNOWN).branch_logits
    assert all(logits.abs().max() < 40 for logits in branches.values())
    of_bools = model(images(), known=torch.tensor([[True, False, False]] * 2)).logits
    assert of_bools.sign().tolist() == [[1, -1, -1]] * 2


def test_attention_between_labels_is_told(make_model: MakeModel) -> None:
    """The label features are those of the attention layer on features with the state's row added, by hand."""
    whole = make_model(SCTWithKnownLabels)
    model = whole.sct
    taken: list[Tensor] = []
    model.semantic_features.register_forward_hook(lambda _, __, output: taken.append(output))
    vocabulary = whole.with_known(whole.vocabulary(), KNOWN)
    found = model(images(), vocabulary=vocabulary).label_features
    marked = taken[0].clone()
    marked[0, 0] += model.label_states.embeddings[1]
    marked[1, 1] += model.label_states.embeddings[0]
    torch.testing.assert_close(found, model.label_interaction(marked))


def test_order_of_the_labels_does_not_matter(make_model: MakeModel) -> None:
    model = make_model(SCTWithKnownLabels, scorer="label")
    order, text = [2, 0, 1], model.sct.label_embeddings.clone()
    logits = model(images(), known=KNOWN).logits
    given = model(images(), known=KNOWN[:, order], vocabulary=model.vocabulary(text[order])).logits
    torch.testing.assert_close(given, logits[:, order])
    model.set_labels([LABELS[label] for label in order], text[order])
    torch.testing.assert_close(model(images(), known=KNOWN[:, order]).logits, logits[:, order])
    model.set_labels([*LABELS, "boat"], torch.cat((text, torch.randn(1, 12))))
    assert model(images(), known=torch.tensor([[1, -1, -1, 0]] * 2)).logits.shape == (2, 4)


# label mask training


def test_the_number_of_known_labels_is_uniform_and_each_usable_target_as_likely() -> None:
    torch.manual_seed(0)
    labels = torch.randint(2, (16_000, 12)).float()
    labels[:, 3], labels[:, 7] = -1, math.nan
    labels[:, 9] = 0.5  # nine usable targets are left: at most ⌊0.78 · 9⌋ = 7 of them are drawn
    known = draw_known_labels(labels, 0.78)
    drawn = known >= 0
    assert torch.equal(known[drawn], labels[drawn])
    assert (known[~drawn] == -1).all()
    count = drawn.sum(1)
    times = torch.bincount(count, minlength=13)
    assert times[8:].sum() == 0
    expected, spread = 2000, math.sqrt(16_000 / 8 * 7 / 8)
    assert (times[:8] - expected).abs().max() < 4 * spread
    of_label = drawn.float().mean(0)
    assert of_label[[3, 7, 9]].sum() == 0
    assert (of_label[[0, 1, 2, 4, 5, 6, 8, 10, 11]] - 3.5 / 9).abs().max() < 4 * math.sqrt(0.25 / 16_000)
    # Images are drawn apart, and which label is drawn first says nothing of the next one.
    pair = (drawn[:, 0] & drawn[:, 1]).float().mean()
    assert pair == pytest.approx(sum(k * (k - 1) for k in range(8)) / 8 / (9 * 8), abs=0.015)
    torch.manual_seed(0)
    assert torch.equal(torch.randint(2, (16_000, 12)).float()[:, 0], labels[:, 0])
    assert torch.equal(draw_known_labels(labels, 0.78), known)


@pytest.mark.parametrize(("share", "usable", "most"), [(0.7, 10, 7), (0.3, 10, 3), (1.0, 4, 4), (0.75, 1, 0)])
def test_the_largest_number_of_known_labels(share: float, usable: int, most: int) -> None:
    torch.manual_seed(0)
    known = draw_known_labels(torch.ones(3000, usable), share)
    assert int((known >= 0).sum(1).max()) == most


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """What is drawn, whatever the seed: of targets that it agrees with."""
    known = torch.tensor([[1.0, -1, -1], [-1, 0, -1], [1, -1, 0], [-1, -1, -1]])
    monkeypatch.setattr(known_labels, "draw_known_labels", lambda labels, share: known)
    return known


TARGETS = torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, -1]])


def test_what_is_known_is_not_learnt(make_model: MakeModel, drawn: Tensor) -> None:
    """Every loss is that of targets masked by hand; those of scores and transport are computed by hand too."""
    model = make_model(SCTWithKnownLabels, **STILL).train()
    model.backbone.eval()
    masked = torch.tensor([[-1.0, 0, 1], [0, -1, 1], [-1, 1, -1], [0, 1, -1]])
    torch.manual_seed(0)
    out = model(images(4), labels=TARGETS)
    torch.manual_seed(0)
    by_hand = model(images(4), labels=masked, known=drawn)
    assert set(out.losses) == {"region", "map", "pooled", "transport"}
    for name, loss in out.losses.items():
        assert loss > 0, name
        torch.testing.assert_close(loss, by_hand.losses[name], msg=name)
    torch.testing.assert_close(out.loss, by_hand.loss)
    for name, logits in out.branch_logits.items():
        torch.testing.assert_close(out.losses[name], asymmetric_loss(logits, masked), msg=name)
        assert (out.losses[name] - asymmetric_loss(logits, TARGETS)).abs() > 1e-5
    base = model.sct(images(4), vocabulary=model.with_known(model.vocabulary(), drawn))
    prior = base.semantic_map.flatten(2).transpose(1, 2)
    expected = conditional_transport(
        base.last_hidden_state,
        base.label_features,
        temperature=model.sct.log_temperature.exp(),
        region_log_prior=prior,
        label_log_prior=prior,
        label_weights=masked.clamp(min=0),
    ).loss
    torch.testing.assert_close(out.losses["transport"], expected)


def test_labels_are_drawn_in_training_on_targets_alone(make_model: MakeModel) -> None:
    model = make_model(SCTWithKnownLabels, **STILL)
    told_nothing = copy.deepcopy(model)
    torch.nn.init.zeros_(told_nothing.sct.label_states.embeddings)
    labels = TARGETS[:, [0, 1, 0]]
    assert torch.equal(model(images(4), labels=labels).loss, told_nothing(images(4), labels=labels).loss)
    for part in (model, told_nothing):
        part.train()
        part.backbone.eval()
    assert torch.equal(model(images(4)).logits, told_nothing(images(4)).logits)
    drawn = []
    for _ in range(2):
        torch.manual_seed(4)
        drawn.append(model(images(4), labels=labels).logits)
    assert torch.equal(*drawn)
    assert (drawn[0] - told_nothing(images(4), labels=labels).logits).abs().max() > 1e-3


def test_gradients_reach_the_states_with_checkpointing_too(make_model: MakeModel, drawn: Tensor) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = make_model(SCTWithKnownLabels, **STILL).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(images(4), labels=TARGETS).loss.backward()
        gradients.append(model.sct.label_states.embeddings.grad)
    assert (gradients[0].abs().sum(1) > 0).all()
    torch.testing.assert_close(*gradients)


def test_what_no_image_shows_is_told_by_a_known_label(make_model: MakeModel) -> None:
    """Images are noise, and the second label is the first: only who is told the first can tell the second."""
    torch.manual_seed(0)
    model = make_model(SCTWithKnownLabels, **STILL, scorer="label", gamma_neg=0).train()
    model.backbone.requires_grad_(False).eval()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)

    def batch(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(2, (count, 2)).float()[:, [0, 0, 1]]
        return torch.randn(count, model.backbone.num_features, 2, 2), labels

    for _ in range(100):
        features, labels = batch(64)
        optimizer.zero_grad()
        model(backbone_features=features, labels=labels).loss.backward()
        optimizer.step()
    model.eval()
    features, labels = batch(400)
    known = torch.full_like(labels, -1)
    known[:, 0] = labels[:, 0]
    with torch.no_grad():
        told, untold = (model(backbone_features=features, known=each).logits for each in (known, None))
    right = [((logits[:, 1] > 0) == (labels[:, 1] == 1)).float().mean() for logits in (told, untold)]
    assert right[0] > 0.98
    assert 0.35 < right[1] < 0.65


# the hierarchy


def test_what_is_known_holds_in_the_hierarchy(make_model: MakeModel) -> None:
    model = make_model(SCTWithKnownLabels, label_parents={"dog": ["cat"], "cat": ["dining table"]})
    present = model(images(), known=torch.tensor([[1, -1, -1]] * 2)).logits
    assert (present > 20).all()
    absent = model(images(), known=torch.tensor([[-1, -1, 0]] * 2)).logits
    assert (absent < -20).all()
    between = model(images(), known=torch.tensor([[-1, 0, -1]] * 2)).logits
    assert (between[:, :2] < -20).all()
    assert (between[:, 2].abs() < 20).all()
    with pytest.raises(ValueError, match=r"'dining table' is absent and 'dog', .* present: give only one"):
        model(images(), known=torch.tensor([[1, -1, 0]] * 2))


# bad input


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (torch.zeros(2, 4), r"known has shape \(2, 4\), but \(2, 3\) is needed"),
        (torch.zeros(3), r"known has shape \(3,\), but \(2, 3\) is needed"),
        (torch.tensor([[1, -1, 0.5]] * 2), r"known contains 0\.5: give 1 for present"),
        (torch.tensor([[1, -2, 0]] * 2), r"known contains -2: give 1 for present"),
    ],
)
def test_known_labels_that_cannot_be_used(make_model: MakeModel, known: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(SCTWithKnownLabels)(images(), known=known)


def test_a_model_that_takes_no_known_labels_refuses_them(make_model: MakeModel) -> None:
    model = make_model(scorer="label")
    assert not capability(model, "takes_known_labels")
    assert capability(make_model(SCTWithKnownLabels), "takes_known_labels")
    with pytest.raises(TypeError, match="known"):
        model(images(), known=KNOWN)
    tagger = model.pipeline(image_processor(model.config))
    with pytest.raises(ValueError, match=r"known_labels are of no use to this model, .* --head sct_known_labels"):
        tagger(Image.new("RGB", (64, 64)), known_labels={"dog": True})


# compiled, and in the pipeline


def test_one_graph(make_model: MakeModel) -> None:
    torch.compiler.reset()
    model = make_model(SCTWithKnownLabels, backbone="test_resnet", label_parents={"dog": ["cat"]})
    maps = torch.randn(2, model.backbone.num_features, 2, 2)
    explained = torch._dynamo.explain(model)(backbone_features=maps, known=KNOWN)
    assert (explained.graph_break_count, explained.graph_count) == (0, 1)


@pytest.fixture
def checkpoint(make_model: MakeModel, tmp_path: Path) -> Path:
    model = make_model(SCTWithKnownLabels)
    model.save_pretrained(tmp_path)
    image_processor(model.config).save_pretrained(tmp_path)
    return tmp_path


def test_known_labels_of_a_pipeline(checkpoint: Path) -> None:
    image = Image.effect_noise((70, 50), 80).convert("RGB")
    tagger = pipeline("multi-label-image-classification", model=str(checkpoint), device="cpu")
    model = AutoModelForImageClassification.from_pretrained(checkpoint)
    assert type(model) is type(tagger.model) is SCTWithKnownLabels
    pixels = tagger.image_processor(image, return_tensors="pt")["pixel_values"]
    expected = model(pixels, known=torch.tensor([[0.0, 1, -1]])).logits.sigmoid()[0]
    said = {"cat": True, "dog": False}
    for tags in (
        tagger(image, known_labels=said, threshold=0),
        tagger([image, image], known_labels=said, threshold=0, batch_size=2)[1],
    ):
        found = {tag["label"]: tag["score"] for tag in tags}
        assert [found[name] for name in LABELS] == pytest.approx(expected.tolist())
    labels = [tag["label"] for tag in tagger(image, known_labels=said)]
    assert labels[0] == "cat"
    assert "dog" not in labels
    assert tagger(image, known_labels={}) == tagger(image)
    for known, message in (
        ({"cow": True}, r"known_labels: no label is called 'cow'; the labels are dog, cat, dining table"),
        ({"cat": 1}, r"known_labels\['cat'\] is 1: give True"),
        (["cat"], r"known_labels is \['cat'\]: give a dict"),
        ([], r"known_labels is \[\]: give a dict"),
    ):
        with pytest.raises(ValueError, match=message):
            tagger(image, known_labels=known)


def test_known_labels_go_by_name_wherever_labels_are_given(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(SCTWithKnownLabels, scorer="label")
    names, vocabulary = ["cat", "horse", "dog"], model.vocabulary(torch.randn(3, 12))
    monkeypatch.setattr(MultiLabelImageClassificationPipeline, "_label_set", lambda self, *given: vocabulary)
    make = partial(model.pipeline, image_processor(model.config), threshold=0)
    image = Image.effect_noise((64, 64), 80).convert("RGB")
    pixels = make().image_processor(image, return_tensors="pt")["pixel_values"]
    scores = model(pixels, known=torch.tensor([[-1, -1, 1]]), vocabulary=vocabulary).logits.sigmoid()[0]
    expected = dict(zip(names, scores.tolist(), strict=True))
    known = {"dog": True}
    for tags in (
        make()(image, labels=names, known_labels=known),
        make(labels=names)(image, known_labels=known),
        make(known_labels=known)(image, labels=names),
    ):
        assert {tag["label"]: tag["score"] for tag in tags} == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="no label is called 'table'"):
        make(labels=names)(image, known_labels={"table": True})
