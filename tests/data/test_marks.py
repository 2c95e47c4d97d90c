from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sct_hf.data import load_data
from sct_hf.data.problems import DataError, Problems
from sct_hf.data.registry import list_data


@pytest.fixture
def root(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    for seed in range(4):
        save_image(tmp_path / f"{seed}.png", seed=seed)
    return tmp_path


def test_every_mark(root: Path) -> None:
    (root / "x.csv").write_text(
        "dog,image,cat,bee\n1,0.png,0,?\n-1,1.png,,1.0\nnan,2.png,NaN,True\n0.0,3.png,1,-1.0\n"
    )
    images = load_data("csv", "train", data_dir=root, files=root / "x.csv")
    assert images.label_names == ["dog", "cat", "bee"], "in the order of the columns"
    assert images.targets().tolist() == [[1, 0, -1], [-1, -1, 1], [-1, -1, 1], [0, 1, -1]]


@pytest.mark.parametrize("kind", [float, bool])
def test_what_pandas_writes(root: Path, kind: type) -> None:
    rng = np.random.default_rng(0)
    marks = rng.integers(0, 2, (4, 3)).astype(kind)
    if kind is float:
        marks[rng.random(marks.shape) < 0.4] = np.nan
    table = pd.DataFrame(marks, columns=["a", "b", "c"])
    table.insert(0, "file_name", [f"{row}.png" for row in range(4)])
    table.to_csv(root / "x.csv")  # with its index, in a column without a name
    images = load_data("csv", "train", files=root / "x.csv")
    assert images.label_names == ["a", "b", "c"]
    np.testing.assert_array_equal(images.targets(), np.nan_to_num(marks.astype(float), nan=-1))


def test_given_labels_choose_the_columns(root: Path) -> None:
    (root / "x.csv").write_text("image,width,dog,cat\n0.png,40,1,0\n1.png,40,0,1\n")
    (root / "labels.txt").write_text("cat\ndog\n")
    images = load_data("csv", "train", files=root / "x.csv", labels_file=root / "labels.txt")
    assert images.label_names == ["cat", "dog"]
    assert images.targets().tolist() == [[0, 1], [1, 0]]


def test_cells_that_are_no_marks(root: Path) -> None:
    (root / "x.csv").write_text("image,dog,cat,width\n0.png,1,yes,40\n1.png,0,1,41\n2.png,x,2,42\n")
    with pytest.raises(DataError) as caught:
        load_data("csv", "train", files=root / "x.csv")
    texts = [str(problem).removeprefix(f"{root / 'x.csv'}, ") for problem in caught.value.problems]
    assert [text.split(":")[0] for text in texts] == ["line 1", "line 2", "line 4", "line 4"]
    assert "column 'width' is taken for a label, but no cell is a mark, such as '40'" in texts[0]
    assert "remove the column, or set label_column to the column of labels" in texts[0]
    assert texts[1].startswith("line 2: column 'cat' holds 'yes': write 1 (present), 0 (absent), or ?")


def test_a_label_without_a_column(root: Path) -> None:
    (root / "x.csv").write_text("image,dog,cat\n0.png,1,0\n")
    (root / "labels.txt").write_text("cat\ndog\ncow\n")
    with pytest.raises(DataError, match="line 1: no column for label 'cow': add it"):
        load_data("csv", "train", files=root / "x.csv", labels_file=root / "labels.txt")


def notes_of(file: Path) -> list[str]:
    problems = Problems()
    listing = list_data("csv", "train", problems, files=file)
    problems.raise_if_any()
    return listing.notes


def test_blanks_in_the_header_and_around_cells(root: Path) -> None:
    (root / "x.csv").write_text("image, dog,cat\u200b\n0.png, 1, 0\n 1.png , 0 ,1\n")
    images = load_data("csv", "train", files=root / "x.csv")
    assert images.label_names == ["dog", "cat"]
    assert images.targets().tolist() == [[1, 0], [0, 1]]


def test_columns_of_parts_and_numbers_are_no_labels(root: Path) -> None:
    (root / "x.csv").write_text(
        "id,image,dog,cat,is_valid,fold,Split\n0,0.png,1,0,True,0,train\n1,1.png,0,1,False,3,x\n"
    )
    assert load_data("csv", "train", files=root / "x.csv").label_names == ["dog", "cat"]
    (note,) = notes_of(root / "x.csv")
    assert "columns 'id', 'is_valid', 'fold', 'Split' are not taken for labels" in note
    names = ["dog", "cat", "is_valid"]
    assert load_data("csv", "train", files=root / "x.csv", label_names=names).label_names == names


def test_the_index_of_pandas_is_no_label(root: Path) -> None:
    (root / "x.csv").write_text("Unnamed: 0,image,dog,cat,patient_id\n0,0.png,1,0,1\n1,1.png,0,1,0\n")
    assert load_data("csv", "train", files=root / "x.csv").label_names == ["dog", "cat"]


def test_a_label_that_is_called_unknown(root: Path) -> None:
    (root / "x.csv").write_text("image,dog,unknown\n0.png,1,0\n1.png,0,1\n")
    images = load_data("csv", "train", files=root / "x.csv")
    assert images.label_names == ["dog", "unknown"]
    assert images.targets().tolist() == [[1, 0], [0, 1]]


def test_a_column_that_names_unknown_labels(root: Path) -> None:
    (root / "x.csv").write_text("image,dog,cat,unknown\n0.png,1,0,cat\n1.png,0,1,\n2.png,0,0,dog|cat\n")
    images = load_data("csv", "train", files=root / "x.csv")
    assert images.label_names == ["dog", "cat"]
    assert images.targets().tolist() == [[1, -1], [0, 1], [-1, -1]]


def test_minus_one_for_absent_is_refused(root: Path) -> None:
    (root / "x.csv").write_text("image,dog,cat\n0.png,1,-1\n1.png,-1,1\n")
    with pytest.raises(DataError, match=r"line 1: all cells are 1 and -1, .*: write 0 where a label is absent"):
        load_data("csv", "train", files=root / "x.csv")
    (root / "x.csv").write_text("image,dog,cat\n0.png,1,\n1.png,?,1\n")
    assert "no cell is 0" in notes_of(root / "x.csv")[0]
