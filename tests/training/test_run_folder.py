import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sct_hf.data.label_splits import split_labels
from sct_hf.errors import InputError
from sct_hf.training import run_folder
from sct_hf.training.arguments import Arguments
from sct_hf.training.run_folder import RunFolder

Tiny = Callable[..., Arguments]


def started(arguments: Arguments, checkpoint: int = 12) -> RunFolder:
    """A run's folder, with a checkpoint if its step is not 0."""
    folder = RunFolder(arguments)
    folder.claim()
    if checkpoint:
        (folder.path / f"checkpoint-{checkpoint:08d}").mkdir()
    return folder


def test_unfinished_run_is_refused_unless_resumed(tmp_path: Path, tiny: Tiny) -> None:
    started(tiny(output_dir=tmp_path))
    (tmp_path / ".partial-checkpoint-00000014").mkdir()  # half-written
    with pytest.raises(InputError, match=r"unfinished run \(checkpoint-00000012\): continue it with --resume, "):
        RunFolder(tiny(output_dir=tmp_path))
    assert not RunFolder(tiny(output_dir=tmp_path, resume=True)).finished


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_without_a_checkpoint_is_in_nobodys_way(tmp_path: Path, tiny: Tiny, resume: bool) -> None:
    started(tiny(output_dir=tmp_path, seed=1), checkpoint=0)
    (tmp_path / "history.json").touch()
    folder = RunFolder(tiny(output_dir=tmp_path, seed=2, resume=resume))
    assert "stopped before its first checkpoint: training starts again there" in folder.note
    folder.claim()
    assert [path.name for path in tmp_path.iterdir()] == ["training_args.json"]
    assert json.loads((tmp_path / "training_args.json").read_text())["arguments"]["seed"] == 2


def test_what_killed_processes_leave_is_no_foreign_file(tmp_path: Path, tiny: Tiny) -> None:
    for name in (".partial-training_args-x1.json", ".lock"):
        (tmp_path / name).touch()
    assert not RunFolder(tiny(output_dir=tmp_path)).finished


def test_a_kill_while_a_run_is_overwritten_leaves_nothing_to_go_on_with(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(tiny(output_dir=tmp_path, seed=1))
    for name in ("metrics.json", "config.json"):
        (tmp_path / name).touch()
    folder = RunFolder(tiny(output_dir=tmp_path, seed=2, overwrite_output_dir=True))
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "remove_checkpoints", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            folder.claim()
    with pytest.raises(InputError, match="files of something else"):
        RunFolder(tiny(output_dir=tmp_path, seed=1, resume=True))
    RunFolder(tiny(output_dir=tmp_path, seed=2, overwrite_output_dir=True)).claim()
    assert [path.name for path in tmp_path.iterdir()] == ["training_args.json"]


def test_finished_run_says_so(tmp_path: Path, tiny: Tiny) -> None:
    folder = started(tiny(output_dir=tmp_path))
    (tmp_path / "best.safetensors").touch()
    folder.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["training_args.json"]
    with pytest.raises(InputError, match="a finished run: choose another folder"):
        RunFolder(tiny(output_dir=tmp_path))
    assert RunFolder(tiny(output_dir=tmp_path, resume=True)).finished


def test_another_run_is_refused_by_what_differs(tmp_path: Path, tiny: Tiny) -> None:
    started(tiny(output_dir=tmp_path, seed=1, rho=0.3))
    with pytest.raises(InputError, match=r"which differs in seed \(1 there, 0 here\), set rho \(0\.3 there, not set"):
        RunFolder(tiny(output_dir=tmp_path, resume=True, checkpoint_every=5))


def test_overwriting_removes_the_run_and_nothing_else(tmp_path: Path, tiny: Tiny) -> None:
    started(tiny(output_dir=tmp_path, seed=1))
    for name in ("linear", "mine"):
        (tmp_path / name).mkdir()
    for name in ("metrics.json", "model.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    started(tiny(output_dir=tmp_path, overwrite_output_dir=True), checkpoint=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "notes.txt", "training_args.json"]
    assert json.loads((tmp_path / "training_args.json").read_text())["arguments"]["seed"] == 0


def test_foreign_files_and_broken_records_are_refused(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="files of something else"):
        RunFolder(tiny(output_dir=tmp_path, resume=True))
    (tmp_path / "training_args.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        RunFolder(tiny(output_dir=tmp_path))


def test_a_long_row_of_labels_is_no_file(tmp_path: Path, tiny: Tiny) -> None:
    row = ",".join(f"label {number}" for number in range(100))  # longer than a file may be called
    assert started(tiny(output_dir=tmp_path, unseen_labels=row)).path == tmp_path
    with pytest.raises(InputError, match="'label 0' is no label of the data set"):
        split_labels(row, ["red", "white", "blue"])


@pytest.mark.parametrize("record", ["{}", "[]", '{"identity": 3}', '{"identity": null, "finished": 1}', "[" * 100_000])
def test_records_of_nothing_are_named(tiny: Callable[..., Arguments], tmp_path: Path, record: str) -> None:
    (tmp_path / "training_args.json").write_text(record)
    with pytest.raises(InputError, match=r"training_args\.json (is not the record of a run|cannot be read)"):
        RunFolder(tiny(output_dir=tmp_path))
