"""Ctrl-C and SIGTERM: a checkpoint at the next step, one line with the command that goes on, exit 130 or 143."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sct_hf.training import run, run_report
from sct_hf.training.arguments import Arguments
from sct_hf.training.checkpoints import newest_checkpoint
from sct_hf.training.loop import train
from sct_hf.training.stopping import StoppedError

Tiny = Callable[..., Arguments]
REPOSITORY = Path(__file__).parents[2]
SCRIPT = str(REPOSITORY / "scripts" / "train.py")


def signal_at(patch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Send this process a signal in the middle of a step."""
    update = run.AveragedModel.update

    def update_and_signal(self: run.AveragedModel, model: Any, at: int) -> None:
        if at == step:
            os.kill(os.getpid(), number)
        update(self, model, at)

    patch.setattr(run.AveragedModel, "update", update_and_signal)


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".safetensors", ".parquet")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    train(tiny(output_dir=folder))
    return folder


@pytest.mark.parametrize(
    ("step", "number", "code"),
    [(3, signal.SIGINT, 130), (6, signal.SIGTERM, 143), (8, signal.SIGTERM, 143), (12, signal.SIGINT, 130)],
)
def test_a_signal_saves_the_step_and_the_run_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny: Tiny,
    undisturbed: Path,
    step: int,
    number: int,
    code: int,
) -> None:
    """Of 2 epochs of 6 steps; the last step of an epoch is saved once the epoch is closed."""
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        signal_at(patch, step, number)
        with pytest.raises(StoppedError) as caught:
            train(tiny(output_dir=tmp_path))
    assert caught.value.code == code
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.name == f"checkpoint-{step:08d}"
    told = [line for line in capsys.readouterr().out.splitlines() if "stopped by" in line]
    assert len(told) == 1
    assert told[0].startswith(f"stopped by {signal.Signals(number).name}; {newest} is whole; to continue: ")
    assert told[0].endswith(" --resume")
    train(tiny(output_dir=tmp_path, resume=True))
    assert results(tmp_path) == results(undisturbed)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in undisturbed.iterdir()}


def test_a_signal_within_an_accumulation_window_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Tiny
) -> None:
    forward, calls = run.Run._step, []

    def step_and_signal(self: run.Run, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        forward(self, *arguments)

    monkeypatch.setattr(run.Run, "_step", step_and_signal)
    with pytest.raises(StoppedError):
        train(tiny(output_dir=tmp_path, gradient_accumulation=4))
    assert len(calls) == 4
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-00000001"]


def test_a_signal_while_reporting_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Tiny, undisturbed: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_report, "write_report", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(StoppedError):
            train(tiny(output_dir=tmp_path))
    assert f"{tmp_path / 'checkpoint-00000012'} is whole; to continue: " in capsys.readouterr().out
    train(tiny(output_dir=tmp_path, resume=True))
    assert results(tmp_path) == results(undisturbed)


def test_a_signal_before_the_first_step_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Tiny
) -> None:
    make = run.new_model

    def make_and_signal(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return make(*arguments)

    monkeypatch.setattr(run, "new_model", make_and_signal)
    with pytest.raises(StoppedError):
        train(tiny(output_dir=tmp_path / "run"))
    assert "stopped by SIGTERM; there was no checkpoint yet; to continue: " in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def start(command: list[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, as a terminal would; nothing is ignored that its parent ignores."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_checkpoint(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    while newest_checkpoint(folder) is None:
        assert process.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.05)


LAUNCHERS = {
    "python": [sys.executable],
    "accelerate": [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu"],
    "two processes": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_launched_runs(
    tmp_path: Path, words: Callable[..., list[str]], launcher: str, number: signal.Signals
) -> None:
    """Ctrl-C goes to all processes of the terminal, SIGTERM to the one that was started."""
    options = {"output_dir": tmp_path / "run", "num_workers": 2, "epochs": 1000}
    log = tmp_path / "log.txt"
    process = start([*LAUNCHERS[launcher], SCRIPT, *words(**options)], log)
    wait_for_checkpoint(process, tmp_path / "run")
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    code = process.wait()
    if launcher == "python":
        assert code == 128 + number
    while process_group_lives(process.pid):  # accelerate does not wait for what it started
        time.sleep(0.05)
    text = log.read_text()
    told = [line for line in text.splitlines() if "stopped by" in line]
    newest = newest_checkpoint(tmp_path / "run")
    assert len(told) == 1, text
    assert told[0].startswith(f"stopped by {number.name}; {newest} is whole; to continue: ")
    assert "error" not in told[0]
    command = told[0].partition("to continue: ")[2]
    assert command.endswith(" --resume")
    expected = {"python": "python", "accelerate": "-m accelerate", "two processes": "-m torch.distributed.run"}
    assert expected[launcher] in command
    resumed = start(["sh", "-c", command], tmp_path / "resumed.txt")
    while "resumed from" not in (tmp_path / "resumed.txt").read_text():
        assert resumed.poll() is None, (tmp_path / "resumed.txt").read_text()
        time.sleep(0.05)
    os.killpg(resumed.pid, signal.SIGTERM)
    resumed.wait()
    while process_group_lives(resumed.pid):
        time.sleep(0.05)


def process_group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, words: Callable[..., list[str]]) -> None:
    """While the step that the first one waits for never ends."""
    program = (
        "import os, signal, sys\n"
        "from sct_hf.training import run\n"
        "from sct_hf.training.loop import train\n"
        "from sct_hf.training.parsing import parse\n"
        "def step(*_):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('first', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('second', flush=True)\n"
        "run.Run._step = step\n"
        "train(parse(sys.argv[1:]))\n"
    )
    log = tmp_path / "log.txt"
    process = start([sys.executable, "-c", program, *words(output_dir=tmp_path / "run")], log)
    assert process.wait() == -signal.SIGINT
    assert "first" in log.read_text()
    assert "second" not in log.read_text().splitlines()
