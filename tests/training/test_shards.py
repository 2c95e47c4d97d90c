"""Training streams shards: each image once an epoch, in one or two processes, and a killed run goes on as before."""

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from sct_hf.data import load_data
from sct_hf.data.contents import image_contents
from sct_hf.data.shards.write import write_shards
from sct_hf.errors import InputError
from sct_hf.training import checkpoints
from sct_hf.training.arguments import Arguments
from sct_hf.training.data_checks import check_run_data
from sct_hf.training.finished_run import training_images
from sct_hf.training.loaders import make_loaders
from sct_hf.training.loop import train
from sct_hf.training.models import new_model
from sct_hf.training.run_data import load_evaluation_images, load_run_data
from sct_hf_cli import run
from tests.training.test_resume import KILLED, assert_same_outcome, environment


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    """The table's images in 7 shards to train on, 2 to score, and 3 tar archives to train on."""
    folder = tmp_path_factory.mktemp("sharded")
    for split, count in (("train", 7), ("test", 2)):
        images = load_data("jsonl", split, data_dir=table)
        write_shards(images, folder / split, kind="parquet", count=count, seed=0)
    write_shards(load_data("jsonl", "train", data_dir=table), folder / "tar" / "train", kind="tar", count=3, seed=0)
    return folder


def streamed(folder: Path, **options: Any) -> dict[str, Any]:
    return {"dataset": "shards", "data_dir": folder, **options}


def seen(folder: Path, tiny: Callable[..., Arguments], **options: Any) -> list[list[int]]:
    """Numbers of the rows of each batch in the first epoch."""
    arguments = tiny(**streamed(folder, **options))
    run_data, accelerator = load_run_data(arguments.data, 0), Accelerator()
    model = new_model(arguments, run_data.all_training.label_names, accelerator)
    loader = make_loaders(run_data, model, arguments, accelerator).training
    found = [batch["index"].tolist() for batch in loader.batches(0, 0)]
    assert sum(map(len, found)) == loader.images
    assert [batch["index"].tolist() for batch in loader.batches(0, 3)] == found[3:]
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_each_image_once_an_epoch(sharded: Path, tiny: Callable[..., Arguments], workers: int) -> None:
    found = seen(sharded, tiny, holdout=0, num_workers=workers)
    assert Counter(chain.from_iterable(found)) == Counter(range(30))
    assert [len(batch) for batch in found] == [3, 4, 4, 4, 3, 4, 4, 4]


def test_items_are_those_of_listed_images(sharded: Path, tiny: Callable[..., Arguments]) -> None:
    """The same pixels and targets as for the listed images, in the same epoch and with the same seed."""
    arguments = tiny(**streamed(sharded, holdout=0))
    accelerator = Accelerator()
    data = replace(arguments.data, dataset=str(sharded / "train"), data_dir=None, eval_split="train")
    listed = replace(arguments, data=data)
    items: list[dict[int, Any]] = []
    for each in (arguments, listed):
        run_data = load_run_data(each.data, 0)
        model = new_model(each, run_data.all_training.label_names, accelerator)
        batches = make_loaders(run_data, model, each, accelerator).training.batches(1, 0)
        items.append(
            {
                int(index): (image, labels)
                for batch in batches
                for index, image, labels in zip(batch["index"], batch["pixel_values"], batch["labels"], strict=True)
            }
        )
    assert len(items[1]) > 20
    for index, (image, labels) in items[1].items():
        assert (items[0][index][0] == image).all()
        assert (items[0][index][1] == labels).all()


def test_training_and_its_files(tmp_path: Path, sharded: Path, tiny: Callable[..., Arguments]) -> None:
    metrics = train(tiny(**streamed(sharded, output_dir=tmp_path, figures=True, holdout=0.3)))
    assert metrics["train_images"] == 22  # of 30 images, two shards of 4 are held out
    assert "scored_in_training" not in metrics
    assert metrics["holdout_mAP"] is not None
    history = json.loads((tmp_path / "history.json").read_text())
    assert [row["step"] for row in history] == [6, 12]
    every = load_data("shards", "train", data_dir=sharded)
    assert training_images(tmp_path) == set(image_contents(every))
    assert (tmp_path / "report.html").is_file()


def test_a_missing_split_is_said_once_with_the_remedy(sharded: Path, tiny: Callable[..., Arguments]) -> None:
    with pytest.raises(InputError) as caught:
        check_run_data(tiny(**streamed(sharded / "tar", eval_split="test")).data)
    remedy = {"eval_split": "held_out", "holdout": 0.2}
    message = str(caught.value)
    assert message.startswith(f"eval_split is 'test', but {sharded / 'tar'} has no shards of it: ")
    assert message.endswith(" ".join(f"--{name} {value}" for name, value in remedy.items()))
    assert message.count("'test'") == 1
    data = tiny(**streamed(sharded / "tar"), **remedy).data
    check_run_data(data)
    with pytest.raises(InputError, match=r"^eval_split is 'test', but"):
        load_evaluation_images(replace(data, eval_split="test"), 0)
    with pytest.raises(InputError, match=r"^train_split is 'val', but"):
        load_run_data(replace(data, train_split="val"), 0)


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_a_finished_command_is_told_so(tmp_path: Path, table: Path, capsys: Any, kind: str) -> None:
    shutil.copytree(table, tmp_path / "table")
    folder = tmp_path / "shards" / "train"
    words = [f"--data_dir={tmp_path / 'table'}", "--dataset=jsonl", f"--output={folder}", f"--format={kind}"]
    assert run("shard", *words, "--shards=3") == 0
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert run("shard", *words, "--shards=3") == 0
    assert capsys.readouterr().out == f"{folder}: complete already: 3 shards, 30 images\n"
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    for other in ("--shards=4", "--seed=1", "--known_proportion=0.5"):
        assert run("shard", *words, "--shards=3", other) == 2
        assert "has shards of other images or options: name another folder, or remove it" in capsys.readouterr().err
    first = min(folder.glob(f"*.{kind}"))
    content = first.read_bytes()
    first.write_bytes(content[:-1])
    assert run("shard", *words, "--shards=3") == 2
    assert f"{first} has {len(content) - 1} bytes, but {len(content)}" in capsys.readouterr().err
    first.write_bytes(content)
    row = json.loads((tmp_path / "table" / "train.jsonl").read_text().splitlines()[0])
    image = tmp_path / "table" / row["image"]
    image.write_bytes(image.read_bytes() + b"x")
    assert run("shard", *words, "--shards=3") == 2
    assert "has shards of other images or options: name another folder, or remove it" in capsys.readouterr().err


def test_archives_train_alike(tmp_path: Path, sharded: Path, tiny: Callable[..., Arguments]) -> None:
    options = streamed(sharded / "tar", output_dir=tmp_path, eval_split="held_out", holdout=0.4)
    assert train(tiny(**options))["train_images"] == 20


def test_a_killed_run_goes_on_to_the_same_digits(
    tmp_path: Path, sharded: Path, words: Callable[..., list[str]], tiny: Callable[..., Arguments]
) -> None:
    options = streamed(sharded, gradient_accumulation=2, positive_weights="auto", holdout=0)  # the last epoch is kept
    train(tiny(**options, output_dir=tmp_path / "undisturbed"))
    options |= {"output_dir": tmp_path / "run", "checkpoint_every": 1}
    command = [sys.executable, "-c", KILLED, "7", "0", *words(**options)]
    killed = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    newest = checkpoints.newest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert newest.name == "checkpoint-00000006"
    train(tiny(**options, resume=True))
    assert_same_outcome(tmp_path / "run", tmp_path / "undisturbed")


@pytest.mark.parametrize(
    "options",
    [
        {"resampling": "repeat_factor"},
        {"shots": 2},
        {"known_proportion": 0.5},
        {"single_positive": True},
        {"max_train_samples": 10},
        {"cache_features": True, "freeze_backbone": True},
        {"head": "sct_label_graph"},
        {"unseen_labels": "red"},
    ],
)
def test_options_that_need_a_list_are_refused_by_name(
    tmp_path: Path, sharded: Path, tiny: Callable[..., Arguments], options: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=r"it needs a list of all images.* --dataset .*train") as caught:
        train(tiny(**streamed(sharded, output_dir=tmp_path, scorer="label", **options)))
    named = "known_proportion" if "single_positive" in options else next(iter(options))
    assert str(caught.value).startswith(named)


def test_notes_name_what_is_odd(tmp_path: Path, table: Path, tiny: Callable[..., Arguments]) -> None:
    images = load_data("jsonl", "train", data_dir=table)
    unlabelled = int((~(images.marks == 1).any(axis=1)).sum())
    twice = images.select([*range(30), 0, 1])
    write_shards(
        type(images)(twice.source, twice.marks, images.label_names, [f"i{n}" for n in range(32)], "made", "train"),
        tmp_path / "train",
        kind="parquet",
        count=4,
        seed=0,
    )
    write_shards(images.select([0, 1, 2]), tmp_path / "test", kind="parquet", count=1, seed=0)
    notes = check_run_data(tiny(**streamed(tmp_path)).data).notes[0]
    extra = int((~(images.marks[:2] == 1).any(axis=1)).sum())
    assert [note.partition(": ")[2] for note in notes] == [
        f"{unlabelled + extra} of 32 images have no label",
        "2 of 32 images are there more than once",
        "3 of 3 images that are scored are training images too",
    ]


def test_scoring_the_training_shards_is_told(tmp_path: Path, sharded: Path, tiny: Callable[..., Arguments]) -> None:
    run_data = load_run_data(tiny(**streamed(sharded, eval_split="train", holdout=0.3)).data, 0)
    assert run_data.scored_in_training() == 30  # by training and the held-out part
    apart = load_run_data(tiny(**streamed(sharded, eval_split="held_out", holdout=0.3)).data, 0)
    assert apart.scored_in_training() == 0


SHARES = """
import json, os, sys
from sct_hf.training import run
from sct_hf.training.parsing import parse
from sct_hf.training.loop import train

step, rank = run.Run._step, os.environ["RANK"]

def noted(self, batch, share, count):
    with open(f"{sys.argv[1]}-{rank}.jsonl", "a") as file:
        file.write(json.dumps([self.state.epoch, batch["index"].tolist()]) + "\\n")
    step(self, batch, share, count)

run.Run._step = noted
train(parse(sys.argv[2:]))
"""


@pytest.mark.slow
def test_two_processes(
    tmp_path: Path, sharded: Path, words: Callable[..., list[str]], tiny: Callable[..., Arguments]
) -> None:
    """Each image once an epoch over both, and a kill of both in the middle ends at the same digits."""

    def launch(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / f"program-{len(program)}.py"
        script.write_text(program)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        return subprocess.run(
            [*command, str(script), *arguments], env=environment(), capture_output=True, text=True, check=False
        )

    options = streamed(sharded, output_dir=tmp_path / "whole", batch_size=8, num_workers=1, checkpoint_every=2)
    done = launch(SHARES, str(tmp_path / "seen"), *words(**options))
    assert done.returncode == 0, done.stderr
    every = load_run_data(tiny(**options).data, 0).training.index.numbers  # type: ignore[union-attr]
    rows = [json.loads(line) for rank in (0, 1) for line in (tmp_path / f"seen-{rank}.jsonl").read_text().splitlines()]
    for epoch in (0, 1):
        assert Counter(n for at, batch in rows if at == epoch for n in batch) == Counter(every.tolist())
    killed = options | {"output_dir": tmp_path / "killed"}
    assert launch(KILLED, "7", "1", *words(**killed)).returncode != 0
    assert checkpoints.newest_checkpoint(tmp_path / "killed") is not None
    again = launch(SHARES, str(tmp_path / "again"), *words(**killed, resume=True))
    assert again.returncode == 0, again.stderr
    assert_same_outcome(tmp_path / "killed", tmp_path / "whole")


def test_labels_of_the_scored_shards_alone_are_named_with_the_remedy(
    tmp_path: Path, table: Path, tiny: Callable[..., Arguments]
) -> None:
    for split in ("train", "test"):
        images = load_data("jsonl", split, data_dir=table)
        if split == "train":
            images = images.with_labels([name for name in images.label_names if name != "white"])
        write_shards(images, tmp_path / split, kind="parquet", count=2, seed=0)
    message = (
        "labels of split 'test' that 'train' does not have: white. .* --labels_file; with shards, to sct-hf shard"
    )
    with pytest.raises(InputError, match=message):
        load_run_data(tiny(**streamed(tmp_path)).data, 0)
