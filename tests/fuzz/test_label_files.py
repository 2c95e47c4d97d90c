"""Damaged recipes, lists of labels, hierarchies and label vectors: read, or refused by a named error."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save

from sct_hf.data.hierarchies import load_hierarchy
from sct_hf.data.label_splits import split_labels
from sct_hf.data.listing import read_label_names, read_names
from sct_hf.errors import InputError
from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.vectors import LabelVectors
from sct_hf.training.parsing import RECIPES, parse
from tests.fuzz.judge import judge
from tests.fuzz.mutate import as_json, as_yaml, damaged_bytes, damaged_document, damaged_text

LABELS = ["dog", "cat", "traffic light", "oak"]
RECIPE = {
    **{"dataset": "csv", "train_file": "a.csv", "eval_file": "b.csv", "backbone": "resnet50", "image_size": [64, 64]},
    **{"epochs": 3, "learning_rate": "1e-3", "freeze_backbone": True, "augment": ["flip", "cutout"], "head": "sct"},
    **{"seed": 1, "label_template": "a {}", "set": {"dropout": 0.1, "encoder_layers": 1, "gamma_neg": "2"}},
}
HIERARCHY = "child,parent\ndog,pet\ncat,pet\npet,animal\noak,tree\n"
GLOVE = "".join(
    f"{word} 0.5 -1.25 {number}e-2\n" for number, word in enumerate("the dog cat traffic light oak".split())
)


def damaged(text: str, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return damaged_bytes(text.encode(), rng)
    return damaged_text(text, rng).encode("utf-8", "surrogatepass")


def damaged_recipe(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return damaged(yaml.safe_dump(RECIPE, sort_keys=False), rng)
    return as_yaml(damaged_document(RECIPE, rng), rng)


def a_recipe_of_the_package(rng: random.Random) -> bytes:
    return damaged(rng.choice(sorted(RECIPES.glob("*.yaml"))).read_text(), rng)


def damaged_vectors(rng: random.Random, folder: Path) -> bytes:
    """The bytes, the names, or the recipe of a file of vectors."""
    path = folder / "whole.safetensors"
    parts: dict[str, Any] = {"names": LABELS}
    parts["recipe"] = {"encoder": "x", "template": "{}", "words": LABELS, "dim": 4}
    LabelVectors(LABELS, torch.eye(4), parts["recipe"]).save(path)
    if rng.random() < 0.4:
        return damaged_bytes(path.read_bytes(), rng)
    with safe_open(path, framework="pt") as file:
        header, tensors = file.metadata(), {"embeddings": file.get_tensor("embeddings")}
    part = rng.choice(list(parts))
    header[part] = as_json(damaged_document(parts[part], rng), rng).decode("utf-8", "replace")
    return save(tensors, header)


Made = Callable[[random.Random, Path], bytes]
KINDS: dict[str, tuple[str, Made, Callable[[Path], Any]]] = {
    "recipe": ("r.yaml", lambda rng, _: damaged_recipe(rng), lambda path: parse(["--recipe", str(path)])),
    "recipe of the package": (
        "r.yaml",
        lambda rng, _: a_recipe_of_the_package(rng),
        lambda path: parse(["--recipe", str(path), "--dataset=scenes"]),
    ),
    "label list": ("l.txt", lambda rng, _: damaged("\n".join(LABELS), rng), read_label_names),
    "names": ("l.txt", lambda rng, _: damaged("\n".join(LABELS), rng), read_names),
    "unseen labels": (
        "l.txt",
        lambda rng, _: damaged("dog\ncat\n", rng),
        lambda path: split_labels(str(path), LABELS),
    ),
    "hierarchy": ("h.csv", lambda rng, _: damaged(HIERARCHY, rng), lambda path: load_hierarchy(str(path), LABELS)),
    "label vectors": ("v.safetensors", damaged_vectors, lambda path: encode_labels(LABELS, str(path))),
    "word vectors": (
        "v.txt",
        lambda rng, _: damaged(GLOVE, rng),
        lambda path: encode_labels(LABELS, f"glove:{path}"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(kind: str, tmp_path: Path, seeds: Callable[[int], range]) -> None:
    name, make, read = KINDS[kind]

    def attempt(rng: random.Random) -> None:
        (tmp_path / name).write_bytes(make(rng, tmp_path))
        read(tmp_path / name)

    verdict = judge(attempt, (InputError,), seeds(20))
    assert not verdict.faults, verdict
    assert verdict.refused
    assert verdict.read
