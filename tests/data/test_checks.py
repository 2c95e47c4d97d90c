import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sct_hf.data.assemble import labelled_images
from sct_hf.data.checks import check_listings
from sct_hf.data.listing import Listing, Record
from sct_hf.data.names import plain_name
from sct_hf.data.problems import Problem, Problems
from sct_hf.errors import InputError

Rows = Sequence[tuple[str, list[str]]]


@pytest.fixture
def root(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    for seed, name in enumerate("abcdefgh"):
        save_image(tmp_path / f"{name}.png", seed=seed)
    return tmp_path


@pytest.fixture
def listing(root: Path) -> Callable[..., Listing]:
    def make(source: str, rows: Rows, **fields: list[str]) -> Listing:
        records = [
            Record(f"{source}, line {line}", image, root / image, labels)
            for line, (image, labels) in enumerate(rows, start=2)
        ]
        return Listing(source, records, **fields)

    return make


def found(training: Listing | None, evaluation: Listing | None = None, **options: object) -> list[Problem]:
    problems = Problems()
    check_listings(training, evaluation, problems, **options)
    return problems.found


def given_labels(*names: str) -> dict[str, str]:
    return {name: f"labels.txt, line {line}" for line, name in enumerate(names, start=1)}


GOOD: Rows = [("a.png", ["dog", "cat"]), ("b.png", ["cat"]), ("c.png", ["dog"])]


def test_nothing_is_wrong_with_good_files(listing: Callable[..., Listing]) -> None:
    assert found(listing("train", GOOD), listing("test", [("d.png", ["cat"]), ("e.png", ["dog"])])) == []
    assert found(listing("train", GOOD), label_names=given_labels("dog", "cat")) == []
    assert found(None, listing("test", GOOD)) == []


@pytest.mark.parametrize(
    ("rows", "kind", "place", "words"),
    [
        (("a.png", ["cat"]), "image listed twice", "line 5", "is already listed at train, line 2 with other labels"),
        (("a.png", ["cat", "dog"]), "image listed twice", "line 5", "is already listed at train, line 2: keep one"),
        (("copy.png", ["cat"]), "same image twice", "line 5", "the same image as 'b.png' at train, line 3: keep"),
        (("absent.png", ["cat"]), "missing image", "line 5", "absent.png is missing: correct the path, or restore"),
        (("D.jpg", ["cat"]), "missing image", "line 5", "D.jpg is missing: there is 'd.png': correct the path"),
        (("none/d.jpg", ["cat"]), "missing image", "line 5", "there is no folder"),
        (("broken.png", ["cat"]), "broken image", "line 5", "broken: .*: replace the file, or pass skip_missing"),
        (("d.png", []), "no label", "line 5", "has no label: add its labels, take it out, or pass allow_unlabelled"),
        (("d.png", [" Dog"]), "two spellings", "line 5", "' Dog' differs .* from 'dog', which 2 images have: write"),
    ],
)
def test_each_mistake_of_a_image(
    root: Path, listing: Callable[..., Listing], rows: tuple[str, list[str]], kind: str, place: str, words: str
) -> None:
    shutil.copy(root / "b.png", root / "copy.png")
    (root / "broken.png").write_bytes((root / "a.png").read_bytes()[:200])
    problems = found(listing("train", [*GOOD, rows]))
    assert [(problem.kind, problem.place) for problem in problems] == [(kind, f"train, {place}")]
    assert re.search(words, str(problems[0]))


def test_a_label_that_is_not_given(listing: Callable[..., Listing]) -> None:
    rows = [*GOOD, ("d.png", ["doge"]), ("e.png", ["DOG"]), ("f.png", ["zebra"])]
    problems = found(listing("train", rows), label_names=given_labels("cat", "dog"))
    assert [problem.kind for problem in problems] == ["unknown label"] * 3
    remedies = [problem.remedy for problem in problems]
    assert remedies[:2] == ["write 'dog', or add it to the labels"] * 2
    assert remedies[2] == "write one of cat, dog, or add it to the labels"


def test_a_label_without_a_positive_in_training(listing: Callable[..., Listing]) -> None:
    evaluation = listing("test", [("d.png", ["cat", "cow"])])
    (problem,) = found(listing("train", GOOD), evaluation)
    assert (problem.kind, problem.place) == ("label without positive", "test, line 2")
    (problem,) = found(listing("train", GOOD, label_names=["cat", "dog", "cow"]))
    assert str(problem).startswith("train: label 'cow' has no positive in training: add")
    (problem,) = found(listing("train", GOOD), label_names=given_labels("cat", "dog", "cow"))
    assert str(problem).startswith("labels.txt, line 3: label 'cow' has no positive in training: add")


def test_a_label_both_present_and_unknown(root: Path) -> None:
    records = [
        Record("x, line 2", "a.png", root / "a.png", ["dog", "cat"], ["cat"]),
        Record("x, line 3", "b.png", root / "b.png", ["dog"], ["cat"]),
    ]
    (problem,) = found(Listing("x", records))
    assert (problem.place, problem.text) == ("x, line 2", "label 'cat' is both present and unknown")


def test_images_of_one_split_in_the_other(root: Path, listing: Callable[..., Listing]) -> None:
    shutil.copy(root / "b.png", root / "copy.png")
    evaluation = listing("test", [("a.png", ["dog"]), ("d.png", ["dog"]), ("copy.png", ["cat"])])
    problems = found(listing("train", GOOD), evaluation)
    assert [(problem.kind, problem.place) for problem in problems] == [
        ("leak between splits", "test, line 2"),
        ("leak between splits", "test, line 4"),
    ]
    assert problems[1].text == "'copy.png' is the same image as 'b.png' at train, line 3, in training"
    (problem,) = found(listing("train", GOOD), listing("test", GOOD))
    assert str(problem).startswith("test: all 3 images that are scored are training images too: name another")


def test_what_is_allowed_is_no_problem(listing: Callable[..., Listing]) -> None:
    rows = [*GOOD, ("d.png", []), ("absent.png", ["cat"])]
    assert found(listing("train", rows), allow_unlabelled=True, skip_missing_images=True) == []


def test_one_label_is_too_few(listing: Callable[..., Listing]) -> None:
    (problem,) = found(listing("train", [("a.png", ["dog"])]))
    assert problem.kind == "too few labels"


def test_two_spellings_among_declared_labels(listing: Callable[..., Listing]) -> None:
    kinds = [problem.kind for problem in found(listing("data.yaml", GOOD, label_names=["dog", "cat", "Cat"]))]
    assert kinds == ["two spellings", "label without positive"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("tv monitor", "TVmonitor", True),
        ("dining_table ", "Dining  Table", True),
        ("T-shirt", "t shirt", True),
        ("size 1_1", "size 11", False),
        ("car", "cart", False),
        ("c", "c++", False),
    ],
)
def test_what_makes_two_spellings_of_one_label(one: str, other: str, same: bool) -> None:
    assert (plain_name(one) == plain_name(other)) is same


@given(st.text(st.characters(categories=["L", "N"]), min_size=1), st.sampled_from([" ", "_", "-", "  "]))
def test_case_and_ends_never_make_another_label(label: str, space: str) -> None:
    assert plain_name(f"{space}{label}{space}") == plain_name(label)
    assert plain_name(plain_name(label)) == plain_name(label)


def test_many_missing_images_of_another_ending(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    """A test that hangs where a folder is gone through for each missing image."""
    save_image(tmp_path / "0.png")
    for number in range(1, 3000):
        (tmp_path / f"{number}.png").touch()
    records = [Record(f"line {n}", f"{n}.jpg", tmp_path / f"{n}.jpg", ["cat", "dog"]) for n in range(1, 3000)]
    records.append(Record("line 0", "0.png", tmp_path / "0.png", ["cat", "dog"]))
    remedies = {problem.remedy for problem in found(Listing("train", records)) if problem.kind == "missing image"}
    assert remedies == {f"there is '{number}.png': correct the path" for number in range(1, 3000)}


def test_a_wrong_folder_is_one_problem(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    records = [Record(f"line {n}", f"a/{n}.jpg", tmp_path / "a" / f"{n}.jpg", ["cat", "dog"]) for n in range(30)]
    (problem,) = [one for one in found(Listing("train.csv", records)) if one.kind == "missing image"]
    assert (problem.place, problem.text) == (
        "train.csv",
        f"none of the 30 listed images is in {tmp_path / 'a'}, first 'a/0.jpg'",
    )
    assert problem.remedy == f"there is no folder {tmp_path / 'a'}: correct the path, or set data_dir"
    save_image(tmp_path / "a" / "x.jpg")
    (problem,) = [one for one in found(Listing("train.csv", records)) if one.kind == "missing image"]
    assert problem.remedy == "correct the paths, or give the folder of the images by data_dir"
    with pytest.raises(InputError, match=r"none of the 30 listed images is in .*: give the folder .* by data_dir"):
        labelled_images(Listing("train.csv", records), ["cat", "dog"], name="csv", split="test")
    save_image(tmp_path / "a" / "3.jpg")
    assert len([one for one in found(Listing("train.csv", records)) if one.kind == "missing image"]) == 29
