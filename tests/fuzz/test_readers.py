"""Damaged data sets of every format: read, or refused by a named error."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sct_hf.data.problems import Problems
from sct_hf.data.registry import READERS, list_boxes
from sct_hf.errors import InputError
from sct_hf.training.arguments import DataArguments
from sct_hf.training.data_checks import check_run_data
from sct_hf.training.run_data import load_run_data
from tests.fuzz.data_sets import DATA_SETS, WITHOUT_FILES, Sound
from tests.fuzz.judge import judge
from tests.fuzz.mutate import as_json, as_yaml, damaged_bytes, damaged_document, damaged_text

KINDS = [(name, number) for name, makers in DATA_SETS.items() for number in range(len(makers))]


def written(path: Path, content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    dump = yaml.safe_dump if path.suffix == ".yaml" else json.dumps
    return dump(content).encode()


def damaged(path: Path, content: Any, rng: random.Random) -> bytes:
    if isinstance(content, bytes) or rng.random() < 0.3:
        return damaged_bytes(written(path, content), rng)
    if isinstance(content, str):
        return damaged_text(content, rng).encode("utf-8", "surrogatepass")
    return (as_yaml if path.suffix == ".yaml" else as_json)(damaged_document(content, rng), rng)


def read(sound: Sound, name: str) -> None:
    options = {"dataset": name, "eval_split": "held_out", "holdout": 0.5} | sound.options
    data = DataArguments(**{key: str(value) if isinstance(value, Path) else value for key, value in options.items()})
    load_run_data(data, 0, check_run_data(data))
    if READERS[name].boxer is not None:
        problems = Problems()
        boxes = list_boxes(name, "train", problems, data_dir=data.data_dir, files=data.train_file)
        problems.raise_if_any()
        assert all(image.of(label) is not None for image in boxes.values() for label in image.clear)


def test_every_reader_has_a_data_set_to_damage() -> None:
    assert set(READERS) == DATA_SETS.keys() | WITHOUT_FILES, "add a maker of a small data set to data_sets.py"


@pytest.mark.parametrize(("name", "number"), KINDS)
def test_damaged_data_sets(name: str, number: int, tmp_path: Path, seeds: Callable[[int], range]) -> None:
    sound = DATA_SETS[name][number](tmp_path)
    for path, content in sound.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(path, content))
    read(sound, name)  # whole, it is read

    def attempt(rng: random.Random) -> None:
        path = rng.choice(list(sound.files))
        path.write_bytes(damaged(path, sound.files[path], rng))
        try:
            read(sound, name)
        finally:
            path.write_bytes(written(path, sound.files[path]))

    verdict = judge(attempt, (InputError,), seeds(25))
    assert not verdict.faults, verdict
    assert verdict.refused
