"""Training on many labels: in parts, and projecting regions instead of labels, against the plain formulas."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sct_hf import SCTForMultiLabelClassification
from sct_hf.export.graph import make_graph
from sct_hf.model import layers_sct, outputs_sct, transport_sct
from sct_hf.model.layers_sct import SemanticFeatures
from sct_hf.model.transport_sct import cosine_similarity
from sct_hf.objectives.erasing import statistics_kept
from tests.model.tiny import tiny_config

COUNT, REGIONS = 11, 4  # more labels than regions of 64 pixels
NO_DROPOUT = {"dropout": 0.0, "scorer_dropout": 0.0, "aligned_dropout": 0.0}
FIELDS = {
    "label": {"scorer": "label"},
    "linear": {"scorer": "linear"},
    "two levels": {"scorer": "label", "feature_levels": 2},
    "prototypes": {"scorer": "label", "label_prototypes": True},
}


@pytest.fixture
def few_at_once(monkeypatch) -> None:
    """Two images have parts of three labels."""
    monkeypatch.setattr(outputs_sct, "_PAIRS_AT_ONCE", 6)


def many(make_model, count: int = COUNT, **fields) -> SCTForMultiLabelClassification:
    """A model in training with many labels."""
    names = [f"label {number}" for number in range(count)]
    model = make_model(id2label=dict(enumerate(names)), label2id=None, **fields)
    text = torch.randn(count, 12)
    prototypes = torch.randn(count, model.backbone.num_features) if model.config.label_prototypes else None
    model.set_labels(names, text, prototypes=prototypes, to_train=True)
    return model.train()


def batch(count: int = COUNT, images: int = 2) -> tuple[Tensor, Tensor]:
    targets = torch.zeros(images, count)
    targets[:, ::3], targets[0, 1] = 1, -1
    return torch.randn(images, 3, 64, 64), targets


def outcome(model: nn.Module, pixels: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Loss, logits, gradients and statistics of one step, by name."""
    model = copy.deepcopy(model)
    out = model(pixels, targets)
    out.loss.backward()
    gradients = {f"gradient of {name}": weight.grad for name, weight in model.named_parameters()}
    return {"loss": out.loss, "logits": out.logits, **gradients, **dict(model.named_buffers())}


def plainly(model: nn.Module, pixels: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """The outcome with all labels at once, projected before they meet the regions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs_sct, "_PAIRS_AT_ONCE", math.inf)
        for module in (layers_sct, transport_sct):
            patch.setattr(module, "outnumbered", lambda regions, labels: False)
        return outcome(model, pixels, targets)


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_a_step_is_that_of_all_labels_at_once(make_model, few_at_once, fields) -> None:
    model = many(make_model, **fields, **NO_DROPOUT).double()
    pixels, targets = batch()
    found, wanted = outcome(model, pixels.double(), targets), plainly(model, pixels.double(), targets)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11, msg=lambda text, name=name: name + text)


def test_in_bfloat16_it_rounds_no_more(make_model, few_at_once) -> None:
    model = many(make_model, **FIELDS["label"], **NO_DROPOUT)
    pixels, targets = batch()
    exact = plainly(model, pixels, targets)
    with torch.autocast("cpu", torch.bfloat16):
        found, plain = outcome(model, pixels, targets), plainly(model, pixels, targets)
    errors = [
        sum((step[name] - exact[name]).square().sum() for name in exact if name.startswith("gradient"))
        for step in (found, plain)
    ]
    assert 0 < errors[0] <= 1.5 * errors[1]
    torch.testing.assert_close(found["loss"], exact["loss"], rtol=0.02, atol=0)


def test_dropout_is_that_of_the_forward_pass(make_model, few_at_once, monkeypatch) -> None:
    """The backward pass computes parts again; with other draws the gradient would be that of another function."""
    model, step = many(make_model, **FIELDS["label"]), batch()
    found = []
    for again in (True, False):
        if not again:
            monkeypatch.setattr(outputs_sct, "checkpoint", lambda compute, *parts, use_reentrant: compute(*parts))
        torch.manual_seed(3)
        found.append(outcome(model, *step))
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


@pytest.mark.parametrize("scorer", ["linear", "label"])
@torch.no_grad()
def test_evaluation_in_parts(make_model, few_at_once, monkeypatch, scorer) -> None:
    model, (pixels, _) = many(make_model, scorer=scorer).eval(), batch()
    found = model(pixels).logits
    monkeypatch.setattr(outputs_sct, "_PAIRS_AT_ONCE", math.inf)
    torch.testing.assert_close(found, model(pixels).logits, rtol=1e-5, atol=1e-6)


def test_an_exported_graph_is_open_to_batches_and_sizes(make_model, few_at_once) -> None:
    model = many(make_model, scorer="label").eval()
    pixels = torch.randn(3, 3, 96, 64)
    graph = make_graph(model)
    assert set(graph.open_axes.values()) == {"batch", "height", "width"}
    with torch.no_grad():
        logits, _ = graph.program.module()(pixel_values=pixels)
        torch.testing.assert_close(logits, model(pixels).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_label_features_equal_the_concatenated_form(few_at_once, training: bool) -> None:
    layer = SemanticFeatures(8, tiny_config()).double().train(training)
    for kept in (layer.norm.running_mean, layer.norm.running_var):
        kept.uniform_(0.5, 2)
    plain = copy.deepcopy(layer)
    text, image = torch.randn(COUNT, 12).double(), torch.randn(3, 8).double()
    unit = text / text.pow(2).mean(1, keepdim=True).add(torch.finfo(text.dtype).eps).sqrt()
    weight = torch.cat((plain.text_proj.weight, plain.image_proj.weight), dim=1)  # W₁
    pairs = torch.stack([torch.cat((unit[k], image[b])) for b in range(3) for k in range(COUNT)])
    expected = plain.out(F.gelu(plain.norm(pairs @ weight.T + plain.text_proj.bias))).reshape(3, COUNT, 8)
    torch.testing.assert_close(layer(text, image), expected, rtol=0, atol=1e-10)
    for name, kept in plain.norm.named_buffers():
        torch.testing.assert_close(dict(layer.norm.named_buffers())[name], kept, rtol=0, atol=1e-10)


def test_statistics_that_are_to_be_kept_are_kept(few_at_once) -> None:
    layer = SemanticFeatures(8, tiny_config()).train()
    before = copy.deepcopy(layer.norm.state_dict())
    with statistics_kept(layer):
        layer(torch.randn(COUNT, 12), torch.randn(3, 8))
    assert all(torch.equal(kept, before[name]) for name, kept in layer.norm.state_dict().items())


def test_similarity_to_many_labels_is_torchs() -> None:
    regions, labels = torch.randn(2, 3, 8, dtype=torch.float64), torch.randn(2, 7, 8, dtype=torch.float64)
    labels[0, 0] = 0
    labels.requires_grad_()
    found = cosine_similarity(regions, labels)
    wanted = F.cosine_similarity(regions.unsqueeze(2), labels.unsqueeze(1), dim=-1, eps=1e-6)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(found.sum(), labels)
    assert gradient.isfinite().all()


def test_memory_grows_with_labels_and_not_with_their_widths(make_model) -> None:
    """What the forward pass keeps for the backward pass, a label: its features (B, D), and maps (B, P)."""

    def kept(count: int) -> int:
        model = many(make_model, count, **FIELDS["label"]).requires_grad_(True)
        stored: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
            return tensor

        pixels, targets = batch(count, images=8)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(pixels, targets)
        return sum(stored.values())

    counts = [2**12, 2**13, 2**14]
    one, two, four = map(kept, counts)
    assert (four - two) / (two - one) == pytest.approx(2, rel=0.02)
    a_label = (four - two) / (counts[2] - counts[1])
    of_text = 2 * 12 + 2 * (12 + 32) + 2 * 2 * 32  # its text, projected, normalised, and its vectors: not by image
    maps, branches = 9 * REGIONS, 3 * 8  # floats of an image and label
    assert a_label <= 8 * (32 + maps + branches) + of_text
