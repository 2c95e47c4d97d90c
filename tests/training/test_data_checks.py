"""Checks of a user's files before training, as a person meets them."""

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sct_hf.data.problems import DataError
from sct_hf.errors import InputError
from sct_hf.training.arguments import DataArguments
from sct_hf.training.data_checks import check_run_data

SCRIPTS = Path(__file__).parents[2] / "scripts"
Script = Callable[..., int]

TRAIN = """image,labels
0.png,dog|sofa
1.png,cat
0.png,dog
gone.png,cat
2.png,
3.png,Dog
4.png,dog,cat
,sofa
cut.png,sofa
copy.png,cat
5.png,"cat
6.png,cat|zebra
7.png,dgo
"""
TEST = """image,labels
8.png,dog
1.png,cat
9.png,cow
"""
MISTAKES = [
    ("label without positive", "labels.txt, line 4", "label 'cow' has no positive in training", "take the label out"),
    ("leak between splits", "test.csv, line 3", "'1.png' is the same image as '1.png'", "take it out of one"),
    ("image listed twice", "train.csv, line 4", "is already listed at train.csv, line 2", "keep one of them"),
    ("missing image", "train.csv, line 5", "gone.png is missing", "correct the path"),
    ("no label", "train.csv, line 6", "'2.png' has no label", "pass --allow_unlabelled true"),
    ("unknown label", "train.csv, line 7", "label 'Dog' is not one of the 4 labels", "write 'dog'"),
    ("number of cells", "train.csv, line 8", "3 cells, but the header has 2", "quote cells"),
    ("no path", "train.csv, line 9", "the path of the image is ''", "give a path"),
    ("broken image", "train.csv, line 10", "cut.png is broken", "replace the file"),
    ("same image twice", "train.csv, line 11", "'copy.png' is the same image as '1.png'", "keep one"),
    ("not CSV", "train.csv, line 12", "the line cannot be parsed", "close each quote"),
    ("unknown label", "train.csv, line 13", "label 'zebra' is not one of the 4 labels", "or add it to the labels"),
    ("unknown label", "train.csv, line 14", "label 'dgo' is not one of the 4 labels", "write 'dog'"),
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    for number in range(10):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:500])
    shutil.copy(tmp_path / "1.png", tmp_path / "copy.png")
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "test.csv").write_text(TEST)
    (tmp_path / "labels.txt").write_text("dog\ncat\nsofa\ncow\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Run a script on the words of a command line; return its exit code."""

    def call(script: str, **options: Any) -> int:
        path = str(SCRIPTS / f"{script}.py")
        words = [f"--{name}={value}" for name, value in options.items()]
        monkeypatch.setattr(sys, "argv", [path, "--dataset=csv", *words])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(path, run_name="__main__")
        assert isinstance(stopped.value.code, int)
        return stopped.value.code

    return call


FILES = {"train_file": "train.csv", "eval_file": "test.csv", "labels_file": "labels.txt"}


def test_every_mistake_has_its_message_and_nothing_is_trained(
    root: Path, run: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", **FILES, output_dir=root / "run", report_to="none") == 2
    assert not (root / "run").exists()
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == f"error: the data has {len(MISTAKES)} problems:"
    assert len({kind for kind, *_ in MISTAKES}) >= 10
    for line, (_, place, text, remedy) in zip(lines, MISTAKES, strict=True):
        assert line.startswith(f"  {place}: ")
        assert text in line
        assert remedy in line


def test_the_kinds(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        check_run_data(DataArguments(dataset="csv", **FILES))
    assert [problem.kind for problem in caught.value.problems] == [kind for kind, *_ in MISTAKES]


def test_the_script_tells_the_same(root: Path, run: Script, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check_data", **FILES) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(MISTAKES) + 1
    assert lines[-1] == f"error: {len(MISTAKES)} problems in the data"
    assert run("check_data", train_fil="x") == 2
    assert capsys.readouterr().err.startswith("error: --train_fil=x is no option; did you mean --train_file")


def test_the_script_sums_up_good_data(root: Path, run: Script, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "train.csv").write_text("image,dog,sofa\n0.png,1,1\n1.png,1,?\n2.png,,1\n")
    (root / "test.csv").write_text("image,sofa,dog\n3.png,1,0\n")
    assert run("check_data", train_file="train.csv", eval_file="test.csv", plot="plots/labels.png") == 0
    out = capsys.readouterr().out
    assert "csv train: 3 images, 2 labels, 1.33 an image (2 with 1, 1 with 2)" in out
    assert "note: train.csv: no cell is 0, so that no label is ever absent" in out
    assert "csv test: 1 images, 2 labels" in out
    assert "most often together: dog + sofa 1" in out
    with Image.open(root / "plots" / "labels.png") as plot:
        assert min(plot.size) > 200
        assert len(np.unique(np.asarray(plot.convert("RGB")).reshape(-1, 3), axis=0)) > 20


def test_a_split_without_files_is_a_problem_beside_the_others(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        check_run_data(DataArguments(dataset="csv", train_file="train.csv"))
    texts = [str(problem) for problem in caught.value.problems]
    assert "split 'test': files is not given: name the csv file of split 'test'" in texts
    assert any("line 4" in text for text in texts)


def test_what_is_scored_is_not_read_where_it_is_held_out(root: Path) -> None:
    (root / "train.csv").write_text("image,labels\n0.png,dog\n1.png,cat\n")
    listings = check_run_data(DataArguments(dataset="csv", train_file="train.csv", eval_split="held_out"))
    assert len(listings.training.records) == 2
    assert listings.evaluation is None


def test_checks_can_be_left_out(root: Path, tiny: Callable[..., Any]) -> None:
    from sct_hf.training.loop import train

    (root / "train.csv").write_text("image,labels\n0.png,dog\n1.png,cat\n2.png,dog\n3.png,cat\n")
    options = {"dataset": "csv", "train_file": "train.csv", "eval_file": "train.csv", "output_dir": root / "run"}
    more = {"epochs": 1, "batch_size": 2, "holdout": 0, "data_dir": root}
    with pytest.raises(InputError, match="all 4 images that are scored are training images too"):
        train(tiny(**options, **more))
    assert train(tiny(**options, **more, check_data=False))["train_images"] == 4
