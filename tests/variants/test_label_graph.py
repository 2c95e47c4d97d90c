"""Messages between labels: who hears whom, what a model without them is, and what becomes of the graph."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sct_hf import SCTForMultiLabelClassification
from sct_hf.variants.label_graph import LabelMessages, SCTWithLabelGraph, count_label_graph, graph_of_labels
from tests.model.conformance import assert_same_after_loading
from tests.model.tiny import LABELS, tiny_config

GRAPH = torch.tensor([[0, 0.5, 0.25], [0.75, 0, 0.75], [0, 0, 0]])
OF_THE_GRAPH = {"sct.label_graph", "sct.label_messages.weight"}


def talking(model: SCTWithLabelGraph, graph: Tensor = GRAPH) -> SCTWithLabelGraph:
    """The model with a graph, and with messages as training might have left them."""
    torch.nn.init.normal_(model.sct.label_messages.weight, generator=torch.Generator().manual_seed(3))
    model.sct.set_label_graph(graph)
    return model


def pair(make_model, **fields) -> tuple[SCTForMultiLabelClassification, SCTWithLabelGraph]:
    """A model without messages, and one with them that is equal in everything else."""
    off, on = make_model(**fields), make_model(SCTWithLabelGraph, **fields)
    for name, tensor in off.state_dict().items():
        assert torch.equal(on.state_dict()[name], tensor), name  # the new weights draw nothing
    return off, on


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def messages(dim: int) -> LabelMessages:
    layer = LabelMessages(dim)
    torch.nn.init.normal_(layer.weight)
    return layer


def test_who_hears_whom_by_hand() -> None:
    """Label 0 hears 0.5·f₁ + 0.25·f₂; label 1, whose row sums to 1.5, (f₀ + f₂)/2; label 2 nobody."""
    layer = LabelMessages(2)
    layer.weight.data = torch.tensor([[1.0, 0], [1, 10]])
    features = torch.tensor([[[8.0, 0], [0, 4], [16, 0]]])
    wanted = [[[8 + 4, 0 + 4 + 10 * 2], [0 + 12, 4 + 12], [16, 0]]]
    torch.testing.assert_close(layer(features, GRAPH), torch.tensor(wanted, dtype=torch.float32))


@given(seed=st.integers(0, 1000), labels=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_layer_agrees_with_loops(seed: int, labels: int) -> None:
    rng = np.random.default_rng(seed)
    graph = np.where(rng.random((labels, labels)) < 0.5, rng.random((labels, labels)), 0)
    np.fill_diagonal(graph, 0)
    torch.manual_seed(seed)
    layer = messages(4).double()
    features = torch.randn(2, labels, 4, dtype=torch.float64)
    found = layer(features, torch.from_numpy(graph))
    for image in range(2):
        for label in range(labels):
            total = max(1.0, sum(graph[label]))
            heard = torch.zeros(4, dtype=torch.float64)
            for other in range(labels):
                heard = heard + graph[label, other] / total * features[image, other]
            torch.testing.assert_close(found[image, label], features[image, label] + layer.weight @ heard)


def test_a_change_of_one_label_reaches_its_hearers_alone() -> None:
    layer = messages(4)
    features = torch.randn(2, 3, 4)
    before = layer(features, GRAPH)
    for label in range(3):
        changed = features.clone()
        changed[:, label] += 1
        moved = {place for place in range(3) if not torch.equal(layer(changed, GRAPH)[:, place], before[:, place])}
        assert moved == {label} | {hearer for hearer in range(3) if GRAPH[hearer, label] > 0}


@pytest.mark.parametrize("scorer", ["linear", "label"])
def test_nothing_changes_without_neighbours_or_before_training(make_model, pixels, scorer: str) -> None:
    off, on = pair(make_model, scorer=scorer)
    wanted, features = off(pixels).logits, off.sct(pixels).label_features

    def same() -> bool:
        return torch.equal(on(pixels).logits, wanted) and torch.equal(on.sct(pixels).label_features, features)

    assert on.sct.label_graph.count_nonzero() == 0
    on.sct.set_label_graph(GRAPH)
    assert same()  # W is zero
    assert not (talking(on)(pixels).logits == wanted).all(0).any()
    on.sct.set_label_graph(torch.zeros(3, 3))
    assert same()


def test_a_model_without_it_has_the_weights_that_it_had(make_model) -> None:
    off, on = make_model(), make_model(SCTWithLabelGraph)
    assert on.state_dict().keys() - off.state_dict().keys() == OF_THE_GRAPH
    assert off.state_dict().keys() - on.state_dict().keys() == set()


@pytest.mark.parametrize("scorer", ["linear", "label"])
def test_gradients_reach_every_parameter_of_it(targets, scorer: str) -> None:
    torch.manual_seed(0)
    model = SCTWithLabelGraph(tiny_config(SCTWithLabelGraph.config_class, scorer=scorer))
    model.sct.set_label_graph(GRAPH)
    model(torch.randn(3, 3, 64, 64), labels=targets).loss.backward()
    gradient = model.sct.label_messages.weight.grad
    assert (gradient.abs().sum(0) > 0).all()  # in the first step, when nothing is said yet
    assert (gradient.abs().sum(1) > 0).all()


def test_saved_with_the_checkpoint(make_model, pixels, tmp_path) -> None:
    model = talking(make_model(SCTWithLabelGraph))
    model.save_pretrained(tmp_path)
    loaded = SCTWithLabelGraph.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded.sct.label_graph, GRAPH)
    assert_same_after_loading(model, loaded, pixels)


def test_a_checkpoint_without_its_graph_is_refused(make_model, tmp_path) -> None:
    make_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks 1 tensors .* first sct\.label_graph"):
        SCTWithLabelGraph.from_pretrained(tmp_path)


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_graph_follows_the_names(seed: int) -> None:
    rng = np.random.default_rng(seed)
    former = [f"label{number}" for number in rng.permutation(5)]
    names = [f"label{number}" for number in rng.permutation(8)[: rng.integers(1, 8)]]
    graph = torch.from_numpy(rng.random((5, 5)))
    found = graph_of_labels(graph, former, names)
    assert found.shape == (len(names), len(names))
    for row, one in enumerate(names):
        for column, other in enumerate(names):
            known = one in former and other in former
            assert found[row, column] == (graph[former.index(one), former.index(other)] if known else 0)


def test_other_order_other_labels(make_model, pixels) -> None:
    model = talking(make_model(SCTWithLabelGraph, scorer="label"))
    text = model.sct.label_embeddings
    before = model(pixels).logits
    order = [2, 0, 1]
    model.set_labels([LABELS[place] for place in order], text[order])
    torch.testing.assert_close(model(pixels).logits, before[:, order])
    model.set_labels(["bird", LABELS[0], LABELS[1], "horse"], torch.cat((text[:1], text[:2], text[2:])))
    wanted = torch.zeros(4, 4)
    wanted[1:3, 1:3] = GRAPH[:2, :2]
    assert torch.equal(model.sct.label_graph, wanted)
    model.set_labels(["bird", "horse"], text[:2])
    assert torch.equal(model.sct.label_graph, torch.zeros(2, 2))


def test_labels_of_a_linear_scorer_are_renamed(make_model, pixels) -> None:
    model = talking(make_model(SCTWithLabelGraph))
    before = model(pixels).logits
    model.set_labels(["Hund", "Katze", "Esstisch"], model.sct.label_embeddings)
    assert torch.equal(model(pixels).logits, before)


def test_labels_of_one_call_hear_nothing(make_model, pixels) -> None:
    off, on = pair(make_model, scorer="label")
    talking(on)
    text = torch.randn(5, 12)
    wanted = off(pixels, vocabulary=off.vocabulary(text)).logits
    assert torch.equal(on(pixels, vocabulary=on.vocabulary(text)).logits, wanted)
    with torch.no_grad():
        in_parts = on.score_in_parts(pixels, vocabulary=on.vocabulary(text), size=2)
    torch.testing.assert_close(in_parts, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"size=2 cannot be used with the checkpoint's own labels.* Give a vocab"):
        on.score_in_parts(pixels, vocabulary=on.vocabulary(), size=2)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (torch.zeros(2, 2), r"shape \(2, 2\), but \(3, 3\) is needed"),
        (torch.full((3, 3), torch.nan), r"label_graph\[0, 0\] is nan: .* in \[0, 1\]"),
        (2 * GRAPH, r"label_graph\[1, 0\] is 1\.5: .* in \[0, 1\]"),
        (-GRAPH, r"label_graph\[0, 1\] is -0\.5: .* in \[0, 1\]"),
        (torch.diag(torch.tensor([0, 0.5, 0])), r"label_graph\[1, 1\] is 0\.5, a link of a label to itself"),
    ],
)
def test_what_is_no_graph(make_model, graph: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(SCTWithLabelGraph).sct.set_label_graph(graph)


def test_half_precision(make_model, pixels) -> None:
    model = talking(make_model(SCTWithLabelGraph))
    expected = model(pixels).logits
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(pixels).logits
    low = model.to(torch.bfloat16)(pixels.bfloat16()).logits
    for logits in (mixed, low):
        torch.testing.assert_close(logits, expected, rtol=0.05, atol=0.1)


# counted


def test_a_count_by_hand() -> None:
    """A label unknown in an image leaves that pair out; the other pairs of the image stay."""
    targets = torch.tensor([[1, 1, 0], [1, 0, -1], [1, torch.nan, 1], [0, 1, 1]])
    wanted = [
        [0, 1 / (2 + 1), 1 / (2 + 1)],  # of the first label's images, two judge the second and two the third
        [1 / (2 + 1), 0, 1 / (2 + 1)],
        [1 / (2 + 1), 1 / (1 + 1), 0],  # of the third's images, one leaves the second open
    ]
    torch.testing.assert_close(count_label_graph(targets), torch.tensor(wanted))


@given(seed=st.integers(0, 10_000), images=st.integers(0, 12), labels=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_counts_agree_with_loops(seed: int, images: int, labels: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.choice(np.array([1, 0, -1, np.nan], dtype=np.float32), (images, labels), p=[0.4, 0.3, 0.2, 0.1])
    graph = count_label_graph(torch.from_numpy(targets))
    assert graph.shape == (labels, labels)
    assert graph.dtype == torch.float32
    for i in range(labels):
        for j in range(labels):
            both = [row for row in targets if row[i] == 1 and row[j] == 1]
            judged = [row for row in targets if row[i] == 1 and row[j] in (0, 1)]
            assert graph[i, j].item() == (0 if i == j else pytest.approx(len(both) / (len(judged) + 1)))


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_with_many_images_the_count_is_the_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((5000, 3)) < 0.5).astype(np.float32)
    shares = np.array([targets[targets[:, i] == 1].mean(0) for i in range(3)])
    np.fill_diagonal(shares, 0)
    assert count_label_graph(torch.from_numpy(targets)).numpy() == pytest.approx(shares, abs=1e-3)


def test_targets_of_int8_are_counted_as_they_are(make_model) -> None:
    """As the data gives them, and as a model takes them before it is trained."""
    targets = torch.tensor([[1, 1, 0], [1, 0, -1], [0, 1, 1]])
    model = make_model(SCTWithLabelGraph)
    model.observe_targets(targets.to(torch.int8))
    assert torch.equal(model.sct.label_graph, count_label_graph(targets.float()))
    assert model.sct.label_graph[0, 1] == pytest.approx(1 / 3)
