"""Labels scored by the classes of the backbone's own classifier."""

import math
from pathlib import Path

import pytest
import torch

from sct_hf import SCTForMultiLabelClassification
from sct_hf.model.hierarchy_sct import class_evidence, mix_classes
from tests.model.tiny import LABELS, tiny_config

CLASSES = 7


def test_by_hand() -> None:
    """Two classes of probability 3/4 and 1/4; a label of the first, and one of both by half."""
    pooled, vectors = torch.tensor([[math.log(3.0), 5.0]]), torch.tensor([[1.0, 0], [0, 0]])
    classes = torch.tensor([[1.0, 0], [0.5, 0.5]])
    first = math.log(3) - 0.5 * math.log(1)  # odds 3 : 1, by chance 1 : 1
    both = math.log(1) - 0.5 * math.log(1)
    torch.testing.assert_close(class_evidence(pooled, vectors, classes), torch.tensor([[first, both]]))


def test_equals_the_formula_written_out() -> None:
    pooled, vectors = torch.randn(3, 5).double(), torch.randn(CLASSES, 5).double()
    shares = torch.rand(4, CLASSES).double()
    found = class_evidence(pooled, vectors, shares)
    for image in range(3):
        mass = [math.exp(float(pooled[image] @ vector)) for vector in vectors]
        for label in range(4):
            seen = sum(float(share) * one / sum(mass) for share, one in zip(shares[label], mass, strict=True))
            chance = sum(map(float, shares[label])) / CLASSES
            wanted = math.log(seen / (1 - seen)) - 0.5 * math.log(chance / (1 - chance))
            assert float(found[image, label]) == pytest.approx(wanted, abs=1e-9)


def test_certain_and_hopeless_labels_stay_finite_also_in_half_precision() -> None:
    pooled, vectors = torch.tensor([[300.0]]), torch.tensor([[1.0], [-1.0]])
    classes = torch.tensor([[1.0, 0], [0, 1], [0, 0], [1, 1]])
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        with torch.autocast("cpu", torch.bfloat16):
            found = class_evidence(pooled.to(dtype), vectors.to(dtype), classes.to(dtype))
        assert found.dtype == torch.float32
        assert found.isfinite().all()
        assert found[0, 0] > 9 > -9 > found[0, 1]


@pytest.fixture
def model() -> SCTForMultiLabelClassification:
    torch.manual_seed(0)
    made = SCTForMultiLabelClassification(tiny_config(scorer="label", label_prototypes=True, class_count=CLASSES))
    made.sct.class_vectors = torch.randn(CLASSES, made.backbone.num_features)
    made.sct.label_prototypes = torch.rand(len(LABELS), CLASSES)
    return made.eval()


def without_classes(model: SCTForMultiLabelClassification) -> SCTForMultiLabelClassification:
    """The same weights with the mixed class vectors as prototypes."""
    plain = SCTForMultiLabelClassification(tiny_config(scorer="label", label_prototypes=True)).eval()
    state = model.state_dict()
    vectors, shares = state.pop("sct.class_vectors"), state["sct.label_prototypes"]
    mixed = [sum(share * vector for share, vector in zip(row, vectors, strict=True)) for row in shares]
    length = sum(vector.norm() for vector in vectors) / len(vectors)
    state["sct.label_prototypes"] = torch.stack([length * row / row.norm() for row in mixed])
    plain.load_state_dict(state)
    return plain


def test_evidence_is_added_to_the_scores_of_mixed_prototypes(model) -> None:
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found, plain = model(pixels), without_classes(model)(pixels)
        pooled = model.backbone(pixels).mean((2, 3))
    evidence = class_evidence(pooled, model.sct.class_vectors, model.sct.label_prototypes)
    for name, logits in plain.branch_logits.items():
        torch.testing.assert_close(found.branch_logits[name], logits + 0.5 * evidence, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.logits, plain.logits + 0.5 * evidence, rtol=1e-4, atol=1e-4)


def test_evidence_alone_scores_labels_unlike_any_of_training(model) -> None:
    pixels, width = torch.randn(2, 3, 64, 64), model.config.label_embedding_size
    own = model.sct.label_embeddings
    centred = own - own.mean(0)
    strange = own.mean(0) + torch.linalg.svd(centred).Vh[-1] * centred.norm(dim=1).mean()  # at right angles to all
    shares = torch.rand(1, CLASSES)
    assert strange.shape == (width,)
    vocabulary = model.vocabulary(strange[None], shares)
    assert float(vocabulary.familiarity) == 0
    with torch.no_grad():
        logits, pooled = model(pixels, vocabulary=vocabulary).logits, model.backbone(pixels).mean((2, 3))
    torch.testing.assert_close(logits, class_evidence(pooled, model.sct.class_vectors, shares), rtol=1e-4, atol=1e-4)


def test_a_checkpoint_keeps_the_classes(model, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    loaded = SCTForMultiLabelClassification.from_pretrained(tmp_path).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels).logits, model(pixels).logits)
        whole = model(pixels, vocabulary=(vocabulary := model.vocabulary())).logits
        torch.testing.assert_close(model.score_in_parts(pixels, vocabulary=vocabulary, size=2), whole)


def test_shares_of_another_number_of_classes_are_refused(model) -> None:
    with pytest.raises(
        ValueError, match=r"prototypes have shape \(1, 6\), but \(1, 7\) is needed.*make_label_classes"
    ):
        model.vocabulary(torch.randn(1, model.config.label_embedding_size), torch.rand(1, CLASSES - 1))


def test_mixtures_have_the_mean_length_of_the_vectors() -> None:
    vectors = torch.tensor([[3.0, 0], [0, 1]])
    torch.testing.assert_close(
        mix_classes(torch.tensor([[1.0, 0], [0, 1], [0.5, 1.5]]), vectors).norm(dim=1), torch.full((3,), 2.0)
    )
    assert mix_classes(torch.tensor([[1.0, 0]]), vectors.half()).dtype == torch.float16
