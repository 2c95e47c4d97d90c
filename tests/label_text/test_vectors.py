import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sct_hf.errors import InputError
from sct_hf.label_text import LabelVectors, encode_labels

RECIPE = {"encoder": "made by hand", "template": "{}", "words": ["hot dog", "cat"], "dim": 3}


@pytest.fixture
def label_vectors() -> LabelVectors:
    return LabelVectors(["hot_dog", "cat"], torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]), RECIPE)


def test_a_file_gives_back_what_was_saved(label_vectors: LabelVectors, tmp_path: Path) -> None:
    label_vectors.save(tmp_path / "labels.safetensors")
    loaded = LabelVectors.load(tmp_path / "labels.safetensors")
    assert loaded.names == ["hot_dog", "cat"]
    assert loaded.recipe == RECIPE
    assert torch.equal(loaded.embeddings, label_vectors.embeddings)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.safetensors"]


def test_half_precision_is_stored_and_float32_comes_back(label_vectors: LabelVectors, tmp_path: Path) -> None:
    label_vectors.save(tmp_path / "labels.safetensors", dtype=torch.float16)
    with safe_open(tmp_path / "labels.safetensors", framework="pt") as file:
        assert file.get_tensor("embeddings").dtype == torch.float16
    loaded = LabelVectors.load(tmp_path / "labels.safetensors").embeddings
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, label_vectors.embeddings)  # these values are exact in float16


def test_encode_labels_reads_a_file_in_another_order_and_spelling(label_vectors: LabelVectors, tmp_path: Path) -> None:
    label_vectors.save(tmp_path / "labels.safetensors")
    chosen = encode_labels(["Cat", "hot-dog"], str(tmp_path / "labels.safetensors"))
    assert chosen.names == ["Cat", "hot-dog"]
    assert chosen.embeddings.tolist() == [[4.0, 5.0, 6.5], [1.0, 2.0, 3.0]]
    assert chosen.recipe == RECIPE | {"words": ["cat", "hot dog"]}
    assert encode_labels(["cat"], str(tmp_path / "labels.safetensors")).embeddings.tolist() == [[4.0, 5.0, 6.5]]


def test_labels_that_the_file_lacks_are_named(label_vectors: LabelVectors, tmp_path: Path) -> None:
    path = tmp_path / "labels.safetensors"
    label_vectors.save(path)
    with pytest.raises(InputError, match=r"label_encoder=.*without a vector: dog, zebra\..*sct-hf embed"):
        encode_labels(["cat", "dog", "zebra"], str(path))


def _header(**changes: str) -> dict[str, str]:
    header = {"format": "sct_hf.label_text/1", "names": json.dumps(["hot_dog", "cat"]), "recipe": json.dumps(RECIPE)}
    return header | changes


@pytest.mark.parametrize(
    ("tensors", "header", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, None, "no label vectors"),
        ({"embeddings": torch.zeros(2, 3)}, None, "no label vectors"),
        ({"embeddings": torch.zeros(2, 4)}, _header(), r"\(2, 4\); give torch.float32 \(2, 3\)"),
        ({"embeddings": torch.zeros(3, 3)}, _header(), r"\(3, 3\); give torch.float32 \(2, 3\)"),
        ({"embeddings": torch.tensor([[0.0, 0, 0], [0, torch.nan, 0]])}, _header(), "NaN or infinity for cat"),
        ({"embeddings": torch.zeros(2, 3)}, _header(names="[broken"), "damaged"),
        ({"embeddings": torch.zeros(2, 3)}, _header(names=json.dumps(["cat", "cat"])), "repeat: cat"),
        (
            {"embeddings": torch.zeros(2, 3)},
            _header(recipe=json.dumps({"dim": 3})),
            "encoder, template, words is missing",
        ),
        ({"embeddings": torch.zeros(2, 3)}, _header(recipe=json.dumps(RECIPE | {"words": ["cat"]})), "1 words for 2"),
    ],
)
def test_a_file_whose_parts_do_not_agree(
    tmp_path: Path, tensors: dict[str, torch.Tensor], header: dict[str, str] | None, message: str
) -> None:
    save_file(tensors, tmp_path / "labels.safetensors", metadata=header)
    with pytest.raises(InputError, match=message):
        LabelVectors.load(tmp_path / "labels.safetensors")


def test_absent_foreign_and_misnamed_files(label_vectors: LabelVectors, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*nothing\.safetensors"):
        encode_labels(["cat"], str(tmp_path / "nothing.safetensors"))
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(InputError, match="is not a safetensors file"):
        LabelVectors.load(tmp_path / "text.safetensors")
    with pytest.raises(InputError, match=r"does not end in \.safetensors"):
        label_vectors.save(tmp_path / "labels.bin")
