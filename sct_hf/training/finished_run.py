"""What a run's folder says of itself: its arguments, and the images that made the model."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from sct_hf.data.contents import image_contents
from sct_hf.data.shards.images import StreamedImages, listed
from sct_hf.data.shards.index import read_contents
from sct_hf.errors import InputError
from sct_hf.files import atomic_write
from sct_hf.training.arguments import Arguments, EvaluationDataArguments
from sct_hf.training.parsing import parse
from sct_hf.training.run_data import RunData
from sct_hf.training.run_files import RunFile


def arguments_of(folder: Path) -> Arguments:
    """The arguments of the run in a folder, with the folder as its `output_dir`. Paths are relative to where it ran.

    Raises:
        InputError: The folder holds no run, or one of options that do not exist any more.
    """
    path = folder / RunFile.ARGUMENTS
    try:
        words = json.loads(path.read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{str(folder)!r} is no folder of a training run: {path.name} cannot be read") from error
    if not (isinstance(words, list) and words[:2] == ["sct-hf", "train"] and all(isinstance(w, str) for w in words)):
        raise InputError(f"{path} does not hold the command of a training run: train again")
    arguments = parse(words[2:])
    return replace(arguments, train=replace(arguments.train, output_dir=str(folder)))


def note_training_images(folder: Path, run_data: RunData) -> None:
    """Write the contents of the images that train or select the model into its folder, one in a line."""
    if isinstance(run_data.all_training, StreamedImages):
        contents = [f"{content:016x}" for content in np.unique(read_contents(run_data.all_training.index))]
    else:
        parts = [run_data.training, *([run_data.held_out] if run_data.held_out else [])]
        contents = sorted({content for part in parts for content in image_contents(listed(part, RunFile.TRAINED_ON))})
    with atomic_write(folder / RunFile.TRAINED_ON) as temporary:
        temporary.write_text("".join(f"{content}\n" for content in contents), encoding="utf-8")


def training_images(folder: Path) -> set[str] | None:
    """The contents that `note_training_images` wrote; None if a folder has none.

    Raises:
        InputError: They cannot be read.
    """
    path = folder / RunFile.TRAINED_ON
    try:
        return set(path.read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): train again") from error


def trained_on(folder: Path, data: EvaluationDataArguments) -> bool:
    """Whether the run in `folder`, if one is there, was trained on the split that is scored."""
    try:
        told = json.loads((folder / RunFile.ARGUMENTS).read_text(encoding="utf-8"))["arguments"]
        there = (told["dataset"], _place(told["data_dir"]), told["train_split"], _place(told["train_file"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return there == (data.dataset, _place(data.data_dir), data.eval_split, _place(data.eval_file))


def _place(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(path)
