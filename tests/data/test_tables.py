import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sct_hf.data import load_data
from sct_hf.data.listing import Listing
from sct_hf.data.problems import DataError, Problems
from sct_hf.data.registry import list_data
from sct_hf.errors import InputError

NAMES = ["bee", "cat", "dining table"]
TARGETS = [[0, 1, 1], [1, 0, 0], [0, 0, 0]]


@pytest.fixture
def root(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    for name in ("a.png", "b.jpg", "c.png"):
        save_image(tmp_path / "images" / name)
    return tmp_path


@pytest.mark.parametrize(
    "cells",
    [
        ["cat|dining table", "bee", ""],
        ["dining table;cat;", " bee ", ""],
        ['"cat, dining table"', "bee", ""],
        ['"[""cat"", ""dining table""]"', '"[""bee""]"', "[]"],
    ],
)
def test_csv_labels_in_each_form(root: Path, cells: list[str]) -> None:
    lines = [f"images/{name},{cell}" for name, cell in zip(("a.png", "b.jpg", "c.png"), cells, strict=True)]
    (root / "list.csv").write_text("\n".join(["image,labels", *lines]), encoding="utf-8-sig")
    images = load_data("csv", "train", files=root / "list.csv")
    assert (images.name, images.split, images.label_names) == ("csv", "train", NAMES)
    assert images.targets().tolist() == TARGETS
    assert images.image_ids == ["images/a.png", "images/b.jpg", "images/c.png"]
    assert images.image(1).size == (40, 30)


def test_the_format_is_the_one_asked_for_whatever_the_name(root: Path) -> None:
    (root / "list.txt").write_text("image,labels\nimages/a.png,cat|bee\n")
    assert load_data("csv", "train", files=root / "list.txt").label_names == ["bee", "cat"]


def test_csv_with_columns_and_separator_of_its_own(root: Path) -> None:
    (root / "list.csv").write_text("split,pic,what\nx,a.png,cat/dining table\nx,b.jpg,bee\n")
    options = {"image_column": "pic", "label_column": "what", "separator": "/", "data_dir": root / "images"}
    images = load_data("csv", "train", files=[str(root / "list.csv")], **options)
    assert images.targets().tolist() == TARGETS[:2]


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def test_jsonl_with_unknown_labels_and_given_names(root: Path) -> None:
    rows: list[dict[str, object]] = [
        {"path": "images/a.png", "tags": ["cat"], "unknown": ["bee", "cat"]},
        {"path": str(root / "images" / "b.jpg"), "tags": [], "unknown": []},
    ]
    names = ["cat", "bee", "dog"]
    images = load_data("jsonl", "test", files=write_jsonl(root / "x.jsonl", rows), label_names=names)
    assert images.label_names == names
    assert images.targets().tolist() == [[1, -1, 0], [0, 0, 0]]


def test_several_files_are_one_split(root: Path) -> None:
    files = [
        write_jsonl(root / "1.jsonl", [{"image": "images/a.png", "labels": ["cat"]}]),
        write_jsonl(root / "2.jsonl", [{"image": "images/b.jpg", "labels": ["bee"]}]),
    ]
    images = load_data("jsonl", "train", files=files)
    assert images.targets().tolist() == [[0, 1], [1, 0]]


def test_the_split_names_the_file_in_a_folder(root: Path) -> None:
    write_jsonl(root / "val.jsonl", [{"image": "images/a.png", "labels": ["cat", "bee"]}])
    assert len(load_data("jsonl", "val", data_dir=root)) == 1


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        ("csv", "", "list.csv: there is no image in it: write one line for each image"),
        ("csv", "image,labels\n", "list.csv: there is no image in it"),
        ("csv", "image,labels\nimages/a.png,cat\n", "at least two"),
        (
            "csv",
            "photo,labels\nimages/a.png,cat\n",
            r"line 1: no column 'image' or 'file_name' .* only 'photo', 'labels': name the column by image_column",
        ),
        ("csv", "image,what\nimages/a.png,cat\n", "name the column by label_column"),
        ("csv", "image,Labels\nimages/a.png,cat\n", "rename 'Labels', or name the column by label_column"),
        (
            "csv",
            "image;labels\nimages/a.png;cat\n",
            "one cell, 'image;labels': separate the cells by commas, not by ';'",
        ),
        ("csv", "image,labels,labels\nimages/a.png,cat,bee\n", "line 1: the header names 'labels' twice"),
        ("csv", 'image,"labels\n', "line 1: the header cannot be parsed"),
        ("csv", "image,labels\nimages/a.png,cat,bee\n", "line 2: 3 cells, but the header has 2: quote cells"),
        ("csv", "image,labels\nimages/a.png\n", "line 2: 1 cells, but the header has 2"),
        ("csv", "image,labels\n,cat\n", "line 2: the path of the image is ''"),
        ("csv", "image,labels\nimages/a.png,[cat]\n", r"line 2: labels is '\[cat\]', which is no JSON list"),
        ("jsonl", '{"image": "images/a.png", "labels": ["cat"]}\n{"image"', "line 2: the line is not valid JSON"),
        ("jsonl", "[1, 2]", r"line 1: the line is \[1, 2\]: write an object"),
        (
            "jsonl",
            '{"image": "images/a.png", "labels": [1, 2]}',
            r"labels: the labels are numbers .* \[1, 2\]: write names, or .* labels_file",
        ),
        (
            "jsonl",
            '{"image": "images/a.png", "labels": ["cat", "bee"], "unknown": 3}',
            "unknown: label 3 is a number: labels are text",
        ),
        ("jsonl", '{"image": "no.png", "labels": ["cat", "bee"]}', "1 of 1 images .* are missing"),
    ],
)
def test_faults_name_the_line_and_the_remedy(root: Path, suffix: str, text: str, message: str) -> None:
    file = root / f"list.{suffix}"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_data(suffix, "train", files=file)


def test_a_label_that_is_not_among_the_given_names(root: Path) -> None:
    file = write_jsonl(root / "x.jsonl", [{"image": "images/a.png", "labels": ["yeti"]}])
    with pytest.raises(InputError, match="line 1: label 'yeti' is not one of the 2 labels given: write one of cat"):
        load_data("jsonl", "train", files=file, label_names=["cat", "bee"])


def test_a_file_that_is_not_there(root: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv: there is no such file: correct the path"):
        load_data("csv", "train", files=root / "none.csv")
    with pytest.raises(InputError, match="files is not given: name the csv file of split 'train'"):
        load_data("csv", "train")


def test_all_that_is_wrong_is_told_at_once_and_by_line(root: Path) -> None:
    lines = [
        "image,labels",
        "images/a.png,cat|bee",
        ",cat",
        "images/b.jpg,cat,bee",
        'images/c.png,"cat',
        'images/b.jpg,"[""cat"""',
        "images/\xe9.png,cat",
        "images/c.png,bee",
    ]
    (root / "x.csv").write_bytes("\n".join(lines).encode("latin-1"))
    with pytest.raises(DataError) as caught:
        load_data("csv", "train", files=root / "x.csv")
    found = [(problem.kind, problem.place.removeprefix(str(root / "x.csv"))) for problem in caught.value.problems]
    assert found == [
        ("no path", ", line 3"),
        ("number of cells", ", line 4"),
        ("not CSV", ", line 5"),
        ("wrong labels", ", line 6"),
        ("encoding", ", line 7"),
    ]
    assert str(caught.value).count("\n") == 5, "one line each, below the first"


def test_lines_count_where_a_cell_has_several(root: Path) -> None:
    (root / "x.csv").write_text('image,labels\nimages/a.png,"cat\n|bee"\n\nimages/b.jpg\n')
    with pytest.raises(DataError, match="line 5: 1 cells"):
        load_data("csv", "train", files=root / "x.csv")


def test_a_jsonl_file_that_is_utf_16(root: Path) -> None:
    (root / "x.jsonl").write_text('{"image": "images/a.png", "labels": ["cat", "bee"]}\n', encoding="utf-16")
    with pytest.raises(DataError, match=r"x.jsonl: the text is UTF-16: save it as UTF-8"):
        load_data("jsonl", "train", files=root / "x.jsonl")


def test_labels_from_a_file(root: Path) -> None:
    (root / "labels.txt").write_text("dog\n\n cat \nbee\n")
    (root / "x.csv").write_text("image,labels\nimages/a.png,cat\n")
    images = load_data("csv", "train", files=root / "x.csv", labels_file=root / "labels.txt")
    assert images.label_names == ["dog", "cat", "bee"]
    assert images.targets().tolist() == [[0, 1, 0]]
    with pytest.raises(InputError, match=r"labels_file is .* but data set 'coco' takes no labels_file"):
        load_data("coco", "val", data_dir=root, labels_file=root / "labels.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\n", "labels.txt: 1 labels: give at least two"),
        ("cat\ndog\ncat", "line 3: label 'cat' is already on line 1"),
    ],
)
def test_a_labels_file_that_is_wrong(root: Path, text: str, message: str) -> None:
    (root / "labels.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        load_data("csv", "train", files="x.csv", labels_file=root / "labels.txt")


def listed(file: Path, **options: Any) -> Listing:
    problems = Problems()
    listing = list_data(file.suffix[1:], "train", problems, files=file, **options)
    problems.raise_if_any()
    return listing


def test_what_is_odd_is_noted(root: Path) -> None:
    lines = ["image,labels,is_valid", "images/a.png,dog cat,0", "images/b.jpg,dog,1", "images/c.png,cat dog,0"]
    (root / "x.csv").write_text("\n".join(lines))
    split, blanks = listed(root / "x.csv").notes
    assert "column 'is_valid' is not read: its lines (0, 1) are all of one split" in split
    assert "'cat dog' seem to be several with blanks between them" in blanks
    assert "pass separator space" in blanks
    images = load_data("csv", "train", files=root / "x.csv", separator="space")
    assert images.label_names == ["cat", "dog"]
    assert load_data("csv", "train", files=root / "x.csv", separator="none").label_names == [
        "cat dog",
        "dog",
        "dog cat",
    ]


def test_numbers_as_text(root: Path) -> None:
    (root / "x.csv").write_text("image,labels\nimages/a.png,3|1\nimages/b.jpg,1\n")
    listing = listed(root / "x.csv")
    assert listing.found_names() == ["1", "3"]
    assert "the labels are numbers, such as '1': write names" in listing.notes[0]
    names = ["ant", "bee", "cow", "dog"]
    images = load_data("csv", "train", files=root / "x.csv", label_names=names)
    assert images.targets().tolist() == [[0, 1, 0, 1], [0, 1, 0, 0]]
    assert load_data("csv", "train", files=root / "x.csv", label_names=["1", "2", "3"]).label_names == ["1", "2", "3"]


def test_scores_behind_names_are_noted(root: Path) -> None:
    (root / "x.csv").write_text("image,labels\nimages/a.png,dog:0.9|cat:0.3\nimages/b.jpg,ratio 16:9\n")
    (note,) = listed(root / "x.csv").notes
    assert "labels such as 'cat:0.3' end in a number, which is read as a part of the name" in note


@pytest.mark.parametrize("cells", [["1 1 0", "0 0 1"], ["[1, 1, 0]", "[0, 0, 1]"], ["1|1|0", "0|0|1"]])
def test_vectors_in_cells(root: Path, cells: list[str]) -> None:
    table = f'image,labels\nimages/a.png,"{cells[0]}"\nimages/b.jpg,"{cells[1]}"\n'
    (root / "x.csv").write_text(table)
    images = load_data("csv", "train", files=root / "x.csv", label_names=["dog", "cat", "sofa"])
    assert images.targets().tolist() == [[1, 1, 0], [0, 0, 1]]
    with pytest.raises(DataError, match=r"line 2: labels: the labels are 0/1 vectors of 3 numbers .* by labels_file"):
        load_data("csv", "train", files=root / "x.csv")


def test_names_are_one_however_they_are_encoded(root: Path) -> None:
    rows: list[dict[str, object]] = [
        {"image": "images/a.png", "labels": ["caf\u00e9", " dog"]},
        {"image": "images/b.jpg", "labels": ["cafe\u0301 ", "do\u200bg"]},
    ]
    images = load_data("jsonl", "train", files=write_jsonl(root / "x.jsonl", rows))
    assert images.label_names == ["caf\u00e9", "dog"]
    assert images.targets().tolist() == [[1, 1], [1, 1]]


def test_a_file_that_is_no_table(root: Path) -> None:
    for content, words in ((b"PAR1xx", "a Parquet file: save it as UTF-8 text"), (b"PK\x03\x04", "a zip archive")):
        (root / "x.csv").write_bytes(content)
        with pytest.raises(DataError, match=words):
            load_data("csv", "train", files=root / "x.csv")
    (root / "x.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match="a spreadsheet: save it as UTF-8 text"):
        load_data("csv", "train", files=root / "x.xlsx")


def test_many_lines_with_open_quotes_take_no_long_time(root: Path) -> None:
    """A test that hangs where time grows with the square of the number."""
    (root / "x.csv").write_text("image,labels\n" + 'images/a.png,"a"b\n' * 100_000)
    with pytest.raises(DataError) as caught:
        load_data("csv", "train", files=root / "x.csv")
    assert len(caught.value.problems) == 100_000


def test_more_labels_than_a_data_set_may_have(root: Path) -> None:
    """A test that hangs where time grows with the square of the number."""
    names = [f"label {number}" for number in range(300_000)]
    cases = {
        "a.jsonl": (json.dumps({"image": "images/a.png", "labels": names}), "lists 300000 labels: give at most 30000"),
        "b.csv": (f"image,{','.join(names)}\nimages/a.png{',1' * 300_000}\n", "there are 300000 labels"),
        "c.csv": (
            "image,labels\n" + "".join(f"images/a.png,{name}\n" for name in names[:40_000]),
            "there are 40000 labels, such as 'label 0', 'label 1', 'label 10': give at most 30000",
        ),
    }
    for name, (text, message) in cases.items():
        (root / name).write_text(text)
        with pytest.raises(DataError, match=message):
            load_data(name[2:], "train", files=root / name)
    (root / "labels.txt").write_text("\n".join(names))
    with pytest.raises(DataError, match=r"labels.txt: there are 300000 labels"):
        load_data("csv", "train", files=root / "a.jsonl", labels_file=root / "labels.txt")


def test_a_table_of_many_other_columns(root: Path) -> None:
    """A test that hangs where each line's columns are compared anew."""
    line = json.dumps({f"column {number}": 1 for number in range(1000)}) + "\n"
    (root / "x.jsonl").write_text(line * 300)
    with pytest.raises(DataError, match=r"only 'column 0', .* and 950 more: name the column by image_column"):
        load_data("jsonl", "train", files=root / "x.jsonl")


def test_a_number_past_all_floats(root: Path) -> None:
    (root / "x.jsonl").write_text('{"image": "images/a.png", "labels": [%s]}\n' % ("9" * 400))
    with pytest.raises(DataError, match="the labels are numbers without names"):
        load_data("jsonl", "train", files=root / "x.jsonl")
