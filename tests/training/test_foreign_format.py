"""A format of data that the package does not know: one function, one registration, and `--dataset` trains with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sct_hf.data.listing import Listing, Record
from sct_hf.data.problems import DataError, Problems
from sct_hf.data.registry import READERS, Request, dataset_title, register_reader
from sct_hf.training.loop import train


@pytest.fixture
def toy(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The images of the table, listed as lines `path: label label`."""
    monkeypatch.setattr("sct_hf.data.registry.READERS", dict(READERS))

    @register_reader("toy", title="Own images (toy)", needs=["data_dir"])
    def list_toy(request: Request, problems: Problems) -> Listing:
        assert request.data_dir is not None
        file = request.data_dir / f"{request.split}.toy"
        listing = Listing(str(file))
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            path, _, labels = line.partition(": ")
            listing.records.append(Record(f"{file}, line {number}", path, Path(path), labels.split()))
        return listing

    for split in ("train", "test"):
        rows = [json.loads(line) for line in (table / f"{split}.jsonl").read_text().splitlines()]
        lines = [f"{table / row['image']}: {' '.join(row['labels'])}" for row in rows]
        (tmp_path / f"{split}.toy").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_it_trains_as_the_same_images_in_a_known_format(toy: Path, tiny: Callable[..., Any], tmp_path: Path) -> None:
    known = train(tiny(output_dir=tmp_path / "known"))
    found = train(tiny(dataset="toy", data_dir=toy, output_dir=tmp_path / "toy"))
    assert found["dataset"] == "toy"
    assert (found["mAP"], found["train_images"]) == (known["mAP"], known["train_images"])
    assert dataset_title("toy") == "Own images (toy)"


def test_its_mistakes_are_told_by_line_before_training(toy: Path, tiny: Callable[..., Any], tmp_path: Path) -> None:
    lines = (toy / "train.toy").read_text().splitlines()
    (toy / "train.toy").write_text("\n".join([lines[0], "gone.png: red", *lines[2:], lines[0]]))
    with pytest.raises(DataError) as caught:
        train(tiny(dataset="toy", data_dir=toy, output_dir=tmp_path / "run"))
    found = [(problem.kind, problem.place) for problem in caught.value.problems]
    file = toy / "train.toy"
    assert found == [("missing image", f"{file}, line 2"), ("image listed twice", f"{file}, line {len(lines) + 1}")]
