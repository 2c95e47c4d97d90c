"""Settings by field name that override the arguments of a training run; options of benchmarks."""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sct_hf.errors import InputError
from sct_hf.options import CheckedOptions, option, options_of
from sct_hf.peers.registry import head_names
from sct_hf.training.arguments import Arguments, TrainArguments, training_options
from sct_hf.training.model_settings import config_class, config_fields

ALL = "all"
BENCHMARK = "benchmark"
"""Group of a benchmark's own options."""
_SET_BY_BENCHMARKS = {
    "compare_head": "heads are compared by accuracy --heads",
    "draw_from_rest": "it is always so here",
    "holdout_seed": "parts are drawn again by their number",
    "max_train_samples": "give --train_sizes",
    "overwrite_output_dir": "finished runs stay; choose another output_dir, or remove the folders of runs",
}
_LEAST_STEPS = 400
_BATCHES = 12
_SMALLEST_BATCH = 8

Settings = dict[str, Any]
"""Values by name of an option of training, or of a field that `--set` sets."""


@dataclass
class BenchmarkArguments(CheckedOptions):
    """Options of every benchmark of whole training runs, besides those of training."""

    train_sizes: list[str] = option(
        [ALL],
        "Numbers of training images, drawn by seed, or all; as SIZE, or SIZE:EPOCHS:BATCH_SIZE. By default a small "
        "size gets smaller batches, and epochs for 400 steps at least.",
        group=BENCHMARK,
    )
    jobs: int = option(
        1,
        "Runs at a time, each a process of its own; 0 does all in this process, for debugging.",
        group=BENCHMARK,
        within=">= 0",
    )
    keep_weights: bool = option(False, "Keep the trained models of the runs.", group=BENCHMARK)


@dataclass(frozen=True)
class TrainSize:
    """A number of training images, and the schedule that goes with it.

    Attributes:
        name: The size as given, such as "200" or "all".
        images: Number of images.
        epochs: Passes over the images.
        batch_size: Images per batch.
    """

    name: str
    images: int
    epochs: int
    batch_size: int

    def settings(self) -> Settings:
        """The fields of a run with so many images."""
        drawn = 0 if self.name == ALL else self.images
        return {"max_train_samples": drawn, "epochs": self.epochs, "batch_size": self.batch_size}


def train_size(text: str, available: int, train: TrainArguments) -> TrainSize:
    """Read one of `train_sizes`.

    By default a batch has a twelfth of the images, rounded to a power of two between 8 and the batch size of `train`.
    There are as many epochs as in `train`, or more to reach 400 steps.

    Args:
        text: "SIZE" or "SIZE:EPOCHS:BATCH_SIZE", where SIZE is a number or "all".
        available: Number of images to train on.
        train: The schedule of a large training set.

    Raises:
        InputError: The text has another form, or asks for more images than there are.
    """
    found = re.fullmatch(rf"({ALL}|[1-9]\d*)(?::([1-9]\d*):([1-9]\d*))?", text)
    if found is None:
        raise InputError(f"train_sizes has {text!r}: write a number of images or all, or SIZE:EPOCHS:BATCH_SIZE")
    name, epochs, batch_size = found.groups()
    images = available if name == ALL else int(name)
    if images > available:
        raise InputError(f"train_sizes has {text!r}, but there are {available} images to train on: give {ALL}, say")
    if epochs is not None:
        return TrainSize(name, images, int(epochs), int(batch_size))
    wanted = 2 ** max(images // _BATCHES, 1).bit_length() // 2
    size = min(max(wanted, _SMALLEST_BATCH), train.batch_size)
    steps = max(images // size, 1)
    return TrainSize(name, images, max(train.epochs, -(-_LEAST_STEPS // steps)), size)


def with_settings(arguments: Arguments, *settings: Mapping[str, Any]) -> Arguments:
    """Override arguments by settings; later ones override earlier ones.

    Args:
        arguments: The arguments.
        settings: Values by field name.

    Raises:
        InputError: A name is no field (the message has the nearest ones), or a value does not fit.
    """
    changes = {name: value for one in settings for name, value in one.items()}
    options = options_of(*training_options())
    fields = config_fields(*head_names())
    for name in changes:
        if name not in options and name not in fields:
            near = difflib.get_close_matches(name, [*options, *fields], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"a setting has {name!r}, which is no option of training{hint}")
    model = arguments.model.with_head(changes["head"]) if "head" in changes else arguments.model
    of_config = {name: value for name, value in changes.items() if name not in options}
    merged = model.set | changes.get("set", {}) | of_config
    return replace(arguments, model=model).with_values(changes | {"set": merged})


def value_of(arguments: Arguments, name: str) -> Any:
    """The value of a setting: the option's, else that of the field of the head's configuration."""
    value = arguments.to_dict().get(name)
    if value is None and name in config_fields(head := arguments.model.head):
        options = arguments.model.config_options(head)
        return options[name] if name in options else getattr(config_class(head)(), name)
    return value


def refuse_settings(on_command_line: Collection[str], set_here: Mapping[str, str] | None = None) -> None:
    """Refuse options on the command line that a benchmark would ignore.

    Args:
        on_command_line: Names of the options on the command line.
        set_here: Options to refuse besides those of all benchmarks, with the remedy.

    Raises:
        InputError: One of them is given.
    """
    for name, remedy in (_SET_BY_BENCHMARKS | dict(set_here or {})).items():
        if name in on_command_line:
            raise InputError(f"{name} is set by the benchmark itself: leave it out; {remedy}")


def named(settings: Mapping[str, Any]) -> str:
    """Settings in words: "learning_rate=0.003, weight_decay=0.01"."""
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in settings.items()
    )


def file_name(text: str) -> Path:
    """`text` as the name of a file or folder: letters, digits and -_.=, stay."""
    return Path(re.sub(r"[^\w.=,-]+", "_", text.replace(", ", ",")).strip("_") or "_")
