from pathlib import Path

import pytest

from sct_hf.data import READERS, load_data
from sct_hf.data.registry import ANY_PLACE
from sct_hf.errors import InputError


def test_the_names() -> None:
    tools = {"labelstudio", "cvat", "fiftyone", "yolo", "labelme"}
    own = {"csv", "jsonl", "imagefolder", "labelfolders", *tools}
    assert set(READERS) == {"scenes", "voc2007", "voc2012", "coco", "nuswide", ANY_PLACE, *own}
    assert {name for name, reader in READERS.items() if not reader.published} == own


def test_an_unknown_name_comes_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"dataset is 'voc207': give one of .* did you mean voc2007"):
        load_data("voc207", "train")


@pytest.mark.parametrize("name", ["voc2007", "voc2012", "coco", "imagefolder", "labelfolders", "labelme"])
def test_a_folder_that_is_needed(name: str) -> None:
    with pytest.raises(InputError, match=f"data_dir is not given, but data set '{name}' needs it"):
        load_data(name, "train")


def test_an_option_the_reader_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"files is 'x.csv', but data set 'coco' takes no files"):
        load_data("coco", "train2017", data_dir=tmp_path, files="x.csv")
    with pytest.raises(InputError, match="size is 3, but data set 'csv' takes no size"):
        load_data("csv", "train", size=3)


def test_what_applies_to_some_readers_only_is_ignored_by_the_others(tmp_path: Path) -> None:
    images = load_data(
        "scenes", "test", size=2, difficult="ignore", skip_missing_images=True, data_dir=None, cache_dir=tmp_path
    )
    assert len(images) == 2
