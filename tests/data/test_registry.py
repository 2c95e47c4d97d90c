from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sct_hf.data import READERS, load_data, register_reader, registry
from sct_hf.data.listing import Listing, Record, usable_names
from sct_hf.data.problems import DataError, Problems, SplitError
from sct_hf.data.registry import ANY_PLACE, Request, dataset_title, find_reader
from sct_hf.errors import InputError
from sct_hf.training.arguments import DataArguments
from sct_hf.training.data_checks import check_run_data
from sct_hf.training.run_data import load_run_data


def test_the_names() -> None:
    tools = {"labelstudio", "cvat", "fiftyone", "yolo", "labelme", "voc"}
    own = {"csv", "jsonl", "imagefolder", "labelfolders", *tools}
    assert set(READERS) == {"scenes", "voc2007", "voc2012", "coco", "nuswide", "shards", ANY_PLACE, *own}
    assert {name for name, reader in READERS.items() if not reader.published} == own


def test_an_unknown_name_comes_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"dataset is 'voc207': give one of .* did you mean voc2007"):
        load_data("voc207", "train")


@pytest.mark.parametrize("name", ["voc2007", "voc2012", "voc", "imagefolder", "labelfolders", "labelme"])
def test_a_folder_that_is_needed(name: str) -> None:
    with pytest.raises(InputError, match=f"data_dir is not given, but data set '{name}' needs it"):
        load_data(name, "train")


def test_an_archive_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(
        InputError, match=r"data_dir is '.*set.zip', which is a file: give a folder, unpacked from the"
    ):
        load_data("yolo", "train", data_dir=tmp_path / "set.zip")


def test_an_option_the_reader_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"files is 'x.csv', but data set 'voc2007' takes no files"):
        load_data("voc2007", "train", data_dir=tmp_path, files="x.csv")
    with pytest.raises(InputError, match="size is 3, but data set 'csv' takes no size"):
        load_data("csv", "train", size=3)


def test_what_applies_to_some_readers_only_is_ignored_by_the_others(tmp_path: Path) -> None:
    images = load_data(
        "scenes", "test", size=2, difficult="ignore", skip_missing_images=True, data_dir=None, cache_dir=tmp_path
    )
    assert len(images) == 2


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A format that this test adds: file names whose words are labels."""
    monkeypatch.setattr("sct_hf.data.registry.READERS", dict(READERS))

    @register_reader("toy", title="Own images (toy)", needs=["data_dir"])
    def list_toy(request: Request, problems: Problems) -> Listing:
        assert request.data_dir is not None
        listing = Listing(str(request.data_dir))
        for path in sorted((request.data_dir / request.split).glob("*.png")):
            labels = usable_names(path.stem.split("+")[1:], path, problems)
            listing.records.append(Record(str(path), path.name, path, labels))
        return listing

    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for number, labels in enumerate(["cat+dog", "cat", "dog", "cat+dog"]):
            (tmp_path / split).mkdir(exist_ok=True)
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / f"{number}+{labels}.png")
    return tmp_path


def test_a_reader_from_outside_the_package(toy: Path) -> None:
    images = load_data("toy", "train", data_dir=toy)
    assert images.label_names == ["cat", "dog"]
    assert images.targets().tolist() == [[1, 1], [1, 0], [0, 1], [1, 1]]
    assert dataset_title("toy") == "Own images (toy)"
    assert dataset_title("someone/pets") == "someone/pets"
    with pytest.raises(InputError, match="data_dir is not given, but data set 'toy' needs it"):
        load_data("toy", "train")
    with pytest.raises(InputError, match="separator is 'comma', but data set 'toy' takes no separator"):
        load_data("toy", "train", data_dir=toy, separator="comma")
    with pytest.raises(InputError, match=r"dataset is 'toyy'.*did you mean toy"):
        load_data("toyy", "train")


def test_it_is_checked_as_own_images_are(toy: Path) -> None:
    data = DataArguments(dataset="toy", data_dir=str(toy))
    listings = check_run_data(data)
    assert len(load_run_data(data, 0, listings).evaluation) == 4
    Image.new("RGB", (8, 8)).save(toy / "train" / "9+[dog].png")
    Image.new("RGB", (8, 8)).save(toy / "train" / "8.png")
    with pytest.raises(DataError) as caught:
        check_run_data(data)
    kinds = [problem.kind for problem in caught.value.problems]
    assert sorted(kinds) == ["no label", "no label", "same image twice", "wrong label"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SplitError("test", "the moon has none"), "eval_split is 'test', but the moon has none; or score a part held"),
        (InputError("split is a word of an error"), "split 'test': split is a word of an error"),
    ],
)
def test_its_error_of_a_missing_split_names_the_option(monkeypatch, toy: Path, error: InputError, told: str) -> None:
    """The words are the reader's."""
    made = find_reader("toy")

    def list_training(request: Request, problems: Problems) -> Listing:
        if request.split == "test":
            raise error
        return made.lister(request, problems)

    monkeypatch.setitem(registry.READERS, "toy", replace(made, lister=list_training))
    with pytest.raises(DataError) as caught:
        check_run_data(DataArguments(dataset="toy", data_dir=str(toy)))
    (problem,) = caught.value.problems
    assert str(problem).startswith(told)


def test_what_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="reader 'csv': another reader has this name"):
        register_reader("csv", title="x")
    with pytest.raises(ValueError, match="reader 'new': it takes colour, no options of Request"):
        register_reader("new", title="x", takes=["colour"])
