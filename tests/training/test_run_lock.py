"""One run at a time in a folder."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate import Accelerator

from sct_hf.errors import InputError
from sct_hf.training import run
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train
from sct_hf.training.run_lock import run_lock

Tiny = Callable[..., Arguments]


def test_a_second_run_is_told_so(tmp_path: Path, tiny: Tiny) -> None:
    with (
        run_lock(tmp_path / "run", Accelerator(cpu=True)),
        pytest.raises(InputError, match=r"^output_dir is '.*run', where another run is working: wait until .*$"),
    ):
        train(tiny(output_dir=tmp_path / "run"))
    assert not (tmp_path / "run").exists()  # made for the first one, and left empty


def test_the_lock_is_lost_with_the_process(tmp_path: Path) -> None:
    """Its children may live on, as processes that read images do for a while."""
    accelerator = Accelerator(cpu=True)
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        with run_lock(tmp_path / "run", accelerator):
            child = os.fork()
            if child == 0:
                signal.pause()
            os.write(tell, str(child).encode())
            signal.pause()
    child = int(os.read(ready, 20))
    try:
        with pytest.raises(InputError, match="another run is working"), run_lock(tmp_path / "run", accelerator):
            pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert (tmp_path / "run" / ".lock").exists()
        with run_lock(tmp_path / "run", accelerator):
            pass
        assert list((tmp_path / "run").iterdir()) == []
    finally:
        os.kill(child, signal.SIGKILL)


def test_what_killed_runs_left_is_removed(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / ".partial-checkpoint-00000014").mkdir()
    (tmp_path / ".partial-checkpoint-00000014" / "ema.safetensors").touch()
    (tmp_path / ".partial-training_args-x1.json").touch()
    (tmp_path / ".lock").touch()
    train(tiny(output_dir=tmp_path, epochs=1))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["output_dir", "cache_dir"])
def test_a_file_where_a_folder_is_meant(tmp_path: Path, tiny: Tiny, name: str) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=f"{name} is '{path}': .*file is a file; name a folder"):
            tiny(**{name: path})


def test_a_folder_that_cannot_be_made(tmp_path: Path, tiny: Tiny) -> None:
    with pytest.raises(InputError, match=r"output_dir is .*, which cannot be used as a folder \(File name too long\)"):
        train(tiny(output_dir=tmp_path / ("x" * 300)))


def test_an_option_found_bad_late_leaves_the_folder_as_it_was(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="backbone"):
        train(tiny(output_dir=tmp_path / "new", backbone="resnet51"))
    assert not (tmp_path / "new").exists()
    train(tiny(output_dir=tmp_path / "old", epochs=1))
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    with pytest.raises(InputError, match="backbone"):
        train(tiny(output_dir=tmp_path / "old", overwrite_output_dir=True, backbone="resnet51"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    with monkeypatch.context() as patch:  # later still: in the first step
        patch.setattr(run.Run, "_step", lambda *_: (_ for _ in ()).throw(InputError("bad")))
        with pytest.raises(InputError, match="bad"):
            train(tiny(output_dir=tmp_path / "new"))
    train(tiny(output_dir=tmp_path / "new", epochs=1, seed=1))
