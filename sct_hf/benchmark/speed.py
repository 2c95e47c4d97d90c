"""The speed benchmark: heads, transport losses, input pipeline, metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision

from sct_hf.benchmark.speed_figure import speed_figure
from sct_hf.benchmark.speed_heads import ALL_HEADS, DTYPES, LEAN, MODES, REFERENCE, Condition, Setting, measure_heads
from sct_hf.benchmark.speed_metrics import measure_metrics
from sct_hf.benchmark.speed_pipeline import measure_pipeline
from sct_hf.benchmark.speed_tagging import MODEL, measure_tagging
from sct_hf.benchmark.speed_transport import measure_transport
from sct_hf.benchmark.tables import write_rows
from sct_hf.errors import InputError
from sct_hf.options import CheckedOptions, option
from sct_hf.own_checkpoint import given_or_own
from sct_hf.training.devices import cpu_name

Rows = list[dict[str, Any]]
FIGURE = "speed.png"
_ALL, _HEADS, _OTHER, _PIPELINE = "benchmark", "heads", "transport losses and metrics", "input pipeline"
_TAGGING = "tagging"


@dataclass
class SpeedArguments(CheckedOptions):
    """Options of the speed benchmark. Lists that are empty by default depend on the device."""

    output_dir: str = option("outputs/speed", "Folder for tables and figure.", group=_ALL, folder=True)
    parts: list[str] = option(
        ["heads", "transport", "metrics"],
        "Parts to measure: heads, transport, metrics, pipeline, tagging. The last two need --images.",
        group=_ALL,
    )
    device: str | None = option(
        None, "Device, such as cpu or cuda.", group=_ALL, unset="the machine's accelerator, if it has one"
    )
    cpu_threads: int = option(0, "CPU threads; 0 uses torch's default.", group=_ALL, within=">= 0")
    rounds: int = option(9, "Measurements of each call.", group=_ALL, within="> 0")
    budget: float = option(
        60.0,
        "Seconds for a group of calls that are measured in turns; two rounds always run.",
        group=_ALL,
        within="> 0",
    )
    settings: list[str] = option(
        ["resnet101:448:80", "tf_efficientnet_lite0:224:20"],
        "Settings to measure heads on, as backbone:pixels:labels.",
        group=_HEADS,
    )
    heads: list[str] = option(list(ALL_HEADS), "Heads to measure; linear is always included.", group=_HEADS)
    batch_sizes: list[int] = option(
        [], "Images in a batch; by default 1 and 4 on CPU, 1 and 64 elsewhere.", group=_HEADS, within="> 0"
    )
    dtypes: list[str] = option(
        [], "float32, bfloat16 (autocast); by default both unless on CPU, and there float32.", group=_HEADS
    )
    modes: list[str] = option([], "eager, compiled; by default both unless on CPU, and there eager.", group=_HEADS)
    lean_hidden_size: int = option(256, "hidden_size of sct_lean.", group=_HEADS, within="> 0")
    lean_ffn_dim: int = option(512, "encoder_ffn_dim of sct_lean.", group=_HEADS, within="> 0")
    label_counts: list[int] = option(
        [80, 1000, 10000], "Numbers of labels of the transport losses.", group=_OTHER, within="> 0"
    )
    transport_batch_size: int = option(1, "Images in a batch of the transport losses.", group=_OTHER, within="> 0")
    metrics_images: int = option(
        40137, "Images of the metrics; those of COCO's val2014 with annotations.", group=_OTHER, within="> 0"
    )
    metrics_labels: int = option(80, "Labels of the metrics.", group=_OTHER, within="> 0")
    images: str | None = option(
        None, "Folder with images for the input pipeline and tagging.", group=_PIPELINE, unset="none"
    )
    pipeline_backbone: str = option(
        "tf_efficientnet_lite0", "Backbone of the training steps that images are for.", group=_PIPELINE
    )
    pipeline_pixels: int = option(224, "Side of its square images.", group=_PIPELINE, within="> 0")
    pipeline_images: int = option(192, "Images to read at most.", group=_PIPELINE, within="> 0")
    pipeline_batch_size: int = option(32, "Images in a batch.", group=_PIPELINE, within="> 0")
    pipeline_heads: list[str] = option(
        ["linear"], "Heads of the training steps; sct is the lean one.", group=_PIPELINE
    )
    workers: list[int] = option([0, 1, 2], "Numbers of processes that read images.", group=_PIPELINE, within=">= 0")

    model: str | None = option(None, "Checkpoint that tags.", group=_TAGGING, unset="the checkpoint of the package")
    engines: list[str] = option([MODEL, "onnxruntime"], "What runs it, as in sct-hf predict --engine.", group=_TAGGING)
    tagging_images: int = option(5000, "Images to tag at most.", group=_TAGGING, within="> 0")
    tagging_batch_size: int = option(16, "Images in a batch.", group=_TAGGING, within="> 0")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (
            ("parts", tuple(PARTS)),
            ("heads", ALL_HEADS),
            ("dtypes", tuple(DTYPES)),
            ("modes", MODES),
            ("pipeline_heads", tuple(head for head in ALL_HEADS if head != LEAN)),
        ):
            for value in getattr(self, name):
                if value not in known:
                    raise InputError(f"{name} has {value!r}: choose from {', '.join(known)}")
        if {"pipeline", "tagging"} & {*self.parts} and not self.images:
            raise InputError(
                "images is missing: give a folder with images, or leave pipeline and tagging out of parts"
            )

    @property
    def lean(self) -> dict[str, Any]:
        """Fields of `SCTConfig` that make the lean SCT."""
        return {"hidden_size": self.lean_hidden_size, "encoder_ffn_dim": self.lean_ffn_dim}


def speed(arguments: SpeedArguments) -> dict[str, Rows]:
    """Measure the parts that `arguments` ask for, and write a table of each (parquet, Markdown) and a figure.

    Weights and inputs of heads, losses and metrics are random: speed does not depend on them. Compared calls are
    measured in turns in this process. Every time has its ratio to a reference measured in the same rounds.

    Args:
        arguments: What to measure.

    Returns:
        The rows of each part, by its name; see `measure_heads`, `measure_transport`, `measure_metrics` and
        `measure_pipeline` for their columns.

    Raises:
        InputError: Arguments cannot be used, or a part needs a package that is not installed.
    """
    device = _device(arguments.device)
    if arguments.cpu_threads:
        torch.set_num_threads(arguments.cpu_threads)
    tables: dict[str, Rows] = {}
    for part in arguments.parts:
        measure, caption = PARTS[part]
        tables[part] = measure(arguments, device)
        shown = [name for name in tables[part][0] if not name.endswith(("_q1_ms", "_q3_ms"))]
        above = f"{caption} {machine(device)}"
        write_rows(arguments.output_dir, part, tables[part], caption=above, columns=shown)
    speed_figure(tables, Path(arguments.output_dir) / FIGURE)
    return tables


def machine(device: str) -> str:
    """A sentence on the machine."""
    index = torch.device(device)
    name = torch.cuda.get_device_name(index) if index.type == "cuda" else cpu_name()
    threads = f", {torch.get_num_threads()} threads" if index.type == "cpu" else ""
    return f"On {device} ({name}{threads}), torch {torch.__version__}, torchvision {torchvision.__version__}."


def _device(name: str | None) -> str:
    if name is None:
        return str(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device is {name!r}, which cannot be used: give cpu, cuda or mps") from error
    return name


def _heads(arguments: SpeedArguments, device: str) -> Rows:
    slow = device == "cpu"
    batch_sizes = arguments.batch_sizes or ([1, 4] if slow else [1, 64])
    dtypes = arguments.dtypes or (["float32"] if slow else list(DTYPES))
    modes = arguments.modes or (["eager"] if slow else list(MODES))
    conditions = [
        Condition(device, dtype, mode, batch_size) for dtype in dtypes for mode in modes for batch_size in batch_sizes
    ]
    heads = list(dict.fromkeys([*arguments.heads, REFERENCE]))
    rows: Rows = []
    for setting in map(Setting.parse, arguments.settings):
        rows += measure_heads(
            setting, conditions, heads=heads, lean=arguments.lean, rounds=arguments.rounds, budget=arguments.budget
        )
    return rows


def _transport(arguments: SpeedArguments, device: str) -> Rows:
    return measure_transport(
        device,
        label_counts=arguments.label_counts,
        batch_size=arguments.transport_batch_size,
        rounds=arguments.rounds,
        budget=arguments.budget,
    )


def _metrics(arguments: SpeedArguments, device: str) -> Rows:
    return measure_metrics(
        images=arguments.metrics_images,
        labels=arguments.metrics_labels,
        rounds=arguments.rounds,
        budget=arguments.budget,
    )


def _tagging(arguments: SpeedArguments, device: str) -> Rows:
    assert arguments.images is not None
    return measure_tagging(
        arguments.images,
        given_or_own(arguments.model),
        count=arguments.tagging_images,
        batch_size=arguments.tagging_batch_size,
        engines=arguments.engines,
    )


def _pipeline(arguments: SpeedArguments, device: str) -> Rows:
    return measure_pipeline(
        arguments.images or "",
        device=device,
        backbone=arguments.pipeline_backbone,
        pixels=arguments.pipeline_pixels,
        count=arguments.pipeline_images,
        batch_size=arguments.pipeline_batch_size,
        workers=arguments.workers,
        heads=arguments.pipeline_heads,
        sct=arguments.lean,
    )


PARTS: dict[str, tuple[Callable[[SpeedArguments, str], Rows], str]] = {
    "heads": (
        _heads,
        "Heads on given maps, and whole models. Medians over rounds; ratios to the linear head in the same rounds; "
        "peak memory on top of weights and optimizer state.",
    ),
    "transport": (
        _transport,
        "Transport losses, forward and backward, Sinkhorn with 50 iterations. Medians over rounds; ratios to "
        "conditional transport in the same rounds; peak memory on top of the features.",
    ),
    "metrics": (_metrics, "Metrics of random scores. Medians over rounds; ratios to this package in the same rounds."),
    "tagging": (
        _tagging,
        "Tagging of files on the CPU; floor: decoding and backbone alone, as many threads. Ratios are medians over "
        "rounds of 250 images, by the wall clock and by time on the CPU.",
    ),
    "pipeline": (_pipeline, "Training's input pipeline, second epochs; wait_share is a fraction of the time."),
}
"""Each part's measurement, and the caption of its table."""
