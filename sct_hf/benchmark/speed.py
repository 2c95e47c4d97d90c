"""The speed benchmark: heads, transport losses, input pipeline, metrics."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchvision

from sct_hf.benchmark.speed_figure import speed_figure
from sct_hf.benchmark.speed_heads import ALL_HEADS, DTYPES, LEAN, MODES, REFERENCE, Condition, Setting, measure_heads
from sct_hf.benchmark.speed_metrics import measure_metrics
from sct_hf.benchmark.speed_pipeline import measure_pipeline
from sct_hf.benchmark.speed_transport import measure_transport
from sct_hf.benchmark.tables import write_rows
from sct_hf.errors import InputError
from sct_hf.training.devices import cpu_name

Rows = list[dict[str, Any]]
FIGURE = "speed.png"


def _option(default: Any, description: str) -> Any:
    return field(default=default, metadata={"help": description})


@dataclass
class SpeedArguments:
    """What is measured. Lists that are empty by default depend on the device."""

    output_dir: str = _option("outputs/speed", "Folder for tables and image.")
    parts: list[str] = field(
        default_factory=lambda: ["heads", "transport", "metrics"],
        metadata={"help": "heads, transport, metrics, pipeline (which needs --images)."},
    )
    device: str | None = _option(None, "Such as cpu or cuda; the machine's accelerator, if it has one, by default.")
    cpu_threads: int = _option(0, "Threads on CPU; 0 for torch's default.")
    rounds: int = _option(9, "Measurements of each call.")
    budget: float = _option(60.0, "Seconds for a group of calls that are measured in turns, after two rounds of it.")
    settings: list[str] = field(
        default_factory=lambda: ["resnet101:448:80", "tf_efficientnet_lite0:224:20"],
        metadata={"help": "backbone:pixels:labels on which heads are measured."},
    )
    heads: list[str] = field(
        default_factory=lambda: list(ALL_HEADS),
        metadata={"help": "Heads that are measured; linear is always one of them."},
    )
    batch_sizes: list[int] = field(
        default_factory=list, metadata={"help": "Images in a batch; 1 and 4 on CPU, 1 and 64 elsewhere."}
    )
    dtypes: list[str] = field(
        default_factory=list, metadata={"help": "float32, bfloat16 (autocast); both unless on CPU, and there float32."}
    )
    modes: list[str] = field(
        default_factory=list, metadata={"help": "eager, compiled; both unless on CPU, and there eager."}
    )
    lean_hidden_size: int = _option(256, "hidden_size of sct_lean.")
    lean_ffn_dim: int = _option(512, "encoder_ffn_dim of sct_lean.")
    label_counts: list[int] = field(
        default_factory=lambda: [80, 1000, 10000], metadata={"help": "Numbers of labels of the transport losses."}
    )
    transport_batch_size: int = _option(1, "Images in a batch of the transport losses.")
    metrics_images: int = _option(40137, "Images of the metrics; those of COCO's val2014 with annotations.")
    metrics_labels: int = _option(80, "Labels of the metrics.")
    images: str | None = _option(None, "Folder with images for the input pipeline.")
    pipeline_backbone: str = _option("tf_efficientnet_lite0", "Backbone of the training steps that images are for.")
    pipeline_pixels: int = _option(224, "Side of its square images.")
    pipeline_images: int = _option(192, "Images to read at most.")
    pipeline_batch_size: int = _option(32, "Images in a batch.")
    pipeline_heads: list[str] = field(
        default_factory=lambda: ["linear"],
        metadata={"help": "Heads of the training steps; sct is the lean one."},
    )
    workers: list[int] = field(
        default_factory=lambda: [0, 1, 2], metadata={"help": "Numbers of processes that read images."}
    )

    def __post_init__(self) -> None:
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
        for name in ("rounds", "lean_hidden_size", "lean_ffn_dim", "transport_batch_size", "metrics_images"):
            _require_positive(name, getattr(self, name))
        for name in ("metrics_labels", "pipeline_pixels", "pipeline_images", "pipeline_batch_size"):
            _require_positive(name, getattr(self, name))
        for name in ("batch_sizes", "label_counts"):
            for value in getattr(self, name):
                _require_positive(name, value)
        for name, least in (("cpu_threads", self.cpu_threads), ("workers", min(self.workers, default=0))):
            if least < 0:
                raise InputError(f"{name} is {getattr(self, name)}: give numbers >= 0")
        if "pipeline" in self.parts and not self.images:
            raise InputError("images is missing: give a folder with images, or leave pipeline out of parts")

    @property
    def lean(self) -> dict[str, Any]:
        """Fields of `SCTConfig` that make the lean SCT."""
        return {"hidden_size": self.lean_hidden_size, "encoder_ffn_dim": self.lean_ffn_dim}


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} is {value}: give a number > 0")


def speed(arguments: SpeedArguments) -> dict[str, Rows]:
    """Measure the parts that `arguments` ask for, and write a table of each (parquet, Markdown) and an image.

    All weights are random, all inputs of heads, losses and metrics too: speed does not depend on them. What is
    compared is measured in turns in this process, and every time stands beside its ratio to a reference that was
    measured in the same rounds.

    Args:
        arguments: What to measure.

    Returns:
        The rows of each part, by its name; see `measure_heads`, `measure_transport`, `measure_metrics` and
        `measure_pipeline` for their columns.

    Raises:
        InputError: Arguments that cannot be used, or a package that a part needs is missing.
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
    """Say in a sentence on what was measured."""
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
    "metrics": (_metrics, "Metrics of random scores. Medians over rounds; ratios to ours in the same rounds."),
    "pipeline": (_pipeline, "Training's input pipeline, second epochs; wait_share is a fraction of the time."),
}
"""Each part's measurement, and the caption of its table."""
