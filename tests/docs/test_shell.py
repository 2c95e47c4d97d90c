"""Shell blocks of README.md and the documentation: all are parsed, and those without a mark are run."""

from collections import defaultdict
from pathlib import Path

import pytest

from sct_hf.errors import InputError
from tests.docs.pages import PAGES, Block, blocks, blocks_of
from tests.docs.running import run_commands, trains
from tests.docs.shell import Command, check_commands, commands

CHECKED = [block for page in PAGES for block in blocks(page) if block.language == "bash" and block.checked]


def by_page(found: list[Block]) -> dict[Path, list[Block]]:
    pages = defaultdict(list)
    for block in found:
        pages[block.page].append(block)
    return pages


def has_training(block: Block) -> bool:
    return any(map(trains, commands(block.code)))


ALL = by_page(blocks_of("bash"))
QUICK = by_page([block for block in blocks_of("bash") if not has_training(block)])
TRAINING = {page: found for page, found in ALL.items() if any(map(has_training, found))}


@pytest.mark.parametrize("block", blocks_of("bash") + CHECKED, ids=str)
def test_options(block: Block) -> None:
    assert check_commands(block.code) >= 1


@pytest.mark.parametrize("page", QUICK, ids=lambda page: page.name)
@pytest.mark.usefixtures("here")
def test_blocks_without_training(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They use the checkpoint that the project holds, where a page trains it."""
    assert run_commands(_commands(QUICK[page]), capsys) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("page", TRAINING, ids=lambda page: page.name)
@pytest.mark.usefixtures("here")
def test_pages_that_train(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks of the page in order, in one folder, as its reader would."""
    assert run_commands(_commands(TRAINING[page]), capsys) >= 1


def _commands(found: list[Block]) -> list[Command]:
    return [command for block in found for command in commands(block.code)]


@pytest.mark.parametrize(
    "refused",
    [
        "sct-hf predict photo.jpg --minimum 0.5",
        "sct-hf train --recipe tiny",
        "sct-hf predict",
        "sct-hf tag photo.jpg",
        "python scripts/predict_all.py photo.jpg",
        'pip install -e ".[trained]"',
        "pytest tests/modell",
        "accelerate launch --num_process 2 -m sct_hf.cli train",
        "rm -r outputs",
    ],
)
def test_shell_that_would_fail(refused: str) -> None:
    with pytest.raises((AssertionError, InputError, SystemExit)):
        check_commands(f"pip install -e . && {refused}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sct-hf check photos/ --labels gone.csv", "ended with 2"),
        ("sct-hf predict photo.jpg --threshold 1 --heatmaps heatmaps/", "wrote no heatmaps"),
        ("sct-hf predict photo.jpg  # dog 0.99", "did not print dog 0.99"),
        ("python outputs/export/run_onnx.py photo.jpg", "ended with 2"),
    ],
)
@pytest.mark.usefixtures("here")
def test_commands_that_fail(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match=message):
        run_commands(commands(line), capsys)
