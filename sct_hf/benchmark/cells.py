"""Cells of a benchmark: training runs, each in its own folder and process, and their records."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sct_hf import __version__
from sct_hf.benchmark.ablated import register_ablated
from sct_hf.benchmark.cost import model_cost
from sct_hf.benchmark.memory import PeakMemory
from sct_hf.benchmark.processes import Outcome, Task, run_tasks
from sct_hf.benchmark.settings import TrainSize, train_size, with_settings
from sct_hf.errors import InputError
from sct_hf.training.arguments import Arguments
from sct_hf.training.devices import cpu_name, make_accelerator, usable_cores
from sct_hf.training.identity import difference, run_identity
from sct_hf.training.loaders import make_loaders
from sct_hf.training.loop import train
from sct_hf.training.models import load_model, new_model
from sct_hf.training.report import write_json
from sct_hf.training.run_data import load_run_data
from sct_hf.training.run_files import RunFile
from sct_hf.training.run_folder import recorded_identity

register_ablated()  # wherever cells run, in processes of their own too

_SHOWN_ARGUMENTS = ("learning_rate", "weight_decay", "epochs", "batch_size", "image_size", "mixed_precision")


@dataclass(frozen=True)
class Cell:
    """One training run of a benchmark.

    Attributes:
        name: Name of its folder in the benchmark's.
        arguments: Arguments of the run; `output_dir` is its folder.
        facts: Columns that identify it, among them `contender` or `variant`, `train_size` and `train_images`.
    """

    name: str
    arguments: Arguments
    facts: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return Path(self.arguments.train.output_dir)

    @property
    def record(self) -> Path:
        """File with the results; it exists once the cell is finished."""
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def log(self) -> Path:
        """File with the output of the run."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def work(self) -> int:
        """Number of images processed in training, over all epochs."""
        return self.arguments.train.epochs * int(self.facts["train_images"])

    def row(self) -> dict[str, Any] | None:
        """The cell as a row of a table; None if it is not finished."""
        found = self._read()
        if found is None:
            return None
        metrics = dict(found["metrics"])
        labels = metrics.pop("AP")
        arguments = self.arguments.to_dict()
        metrics |= metrics.pop("zero_shot", {})
        scalars = {name: value for name, value in metrics.items() if isinstance(value, bool | int | float)}
        return {
            **self.facts,
            "scored_on": metrics["split"],
            **scalars,
            **{f"AP/{name}": value for name, value in labels.items()},
            **found["measured"],
            **{name: arguments[name] for name in _SHOWN_ARGUMENTS},
            "folder": self.name,
            "arguments": json.dumps(run_identity(self.arguments)),
        }

    def finished(self) -> bool:
        """Whether the cell is finished with the same settings.

        Raises:
            InputError: Its folder has a run with other settings, finished or not.
        """
        found, ours = self._read(), self.identity()
        if found is None:
            theirs = recorded_identity(self.folder)
            ours = run_identity(self.arguments)
        else:
            theirs = found["identity"]
        if theirs is not None and (differing := difference(theirs, ours)):
            raise InputError(
                f"{self.folder} holds a run with other settings: {differing}. Choose another output_dir, or remove "
                f"that folder{'' if found is None else f' and {self.record.name}'} to run it again"
            )
        return found is not None

    def identity(self) -> dict[str, Any]:
        """The settings that determine the record: those of the training run and its report."""
        return run_identity(self.arguments) | {"frequency_groups": self.arguments.data.frequency_groups}

    def _read(self) -> dict[str, Any] | None:
        try:
            return json.loads(self.record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InputError(f"{self.record} cannot be read ({error}): remove it to run this again") from error


def machines(rows: Sequence[Mapping[str, Any]]) -> str:
    """A sentence for each machine that finished cells ran on, from their rows."""
    found = dict.fromkeys((row["jobs"], row["cpu_threads"], row["gpu"] or row["cpu"], row["torch"]) for row in rows)
    return " ".join(
        f"{jobs} run(s) at a time, {threads} thread(s) each, on {host}, torch {torch_version}."
        for jobs, threads, host, torch_version in found
    )


def make_cell(base: Arguments, name: Path, facts: Mapping[str, Any], *settings: Mapping[str, Any]) -> Cell:
    """Make a cell below the folder of `base`.

    Args:
        base: Arguments of all cells; `output_dir` is the benchmark's folder.
        name: Name of the cell's folder.
        facts: See `Cell`.
        settings: Settings that override `base`; later ones override earlier ones.

    Raises:
        InputError: A setting cannot be used.
    """
    place = {"output_dir": str(Path(base.train.output_dir) / name), "resume": True, "overwrite_output_dir": False}
    return Cell(str(name), with_settings(base, {"compare_head": "none"}, *settings, place), facts)


def shared_arguments(base: Arguments, jobs: int) -> Arguments:
    """`base` with the cores divided among the jobs, unless it sets the threads of a run."""
    if base.train.cpu_threads:
        return base
    return with_settings(base, {"cpu_threads": max(usable_cores() // max(jobs, 1), 1)})


def prepare(
    base: Arguments, sizes: Sequence[str], jobs: int, *settings: Mapping[str, Any]
) -> tuple[list[TrainSize], int]:
    """Compute the cached maps of all images once, so that parallel runs do not, and count the training images.

    Args:
        base: Arguments of all runs.
        sizes: Train sizes in words, see `train_size`.
        jobs: 0 to work in this process.
        settings: Settings that override `base`: no held-out part, unless that is scored.

    Returns:
        The train sizes, each once, and the number of images to train on.

    Raises:
        InputError: Data, backbone, folder or size cannot be used.
    """
    everything = make_cell(base, Path(), {}, *settings, {"head": "linear", "max_train_samples": 0})
    available = _training_images(everything.arguments, jobs)
    return [train_size(text, available, base.train) for text in dict.fromkeys(sizes)], available


def _training_images(arguments: Arguments, jobs: int) -> int:
    target = Path(arguments.train.output_dir) / "images.json"
    for outcome in run_tasks([Task("the images", _prepare, (arguments, target))], jobs):
        if outcome.error is not None:
            raise InputError(f"the images cannot be prepared: {outcome.error}")
    return int(json.loads(target.read_text(encoding="utf-8"))["training"])


def _prepare(arguments: Arguments, target: Path) -> None:
    options = arguments.train
    accelerator = make_accelerator(
        mixed_precision=options.mixed_precision, cpu_threads=options.cpu_threads, seed=options.seed
    )
    run_data = load_run_data(arguments.data, options.seed)
    if options.cache_features:
        model = new_model(arguments, run_data.all_training.label_names, accelerator).to(accelerator.device)
        make_loaders(run_data, model, arguments, accelerator)
    write_json(target, {"training": len(run_data.training), "labels": run_data.all_training.label_names})


def run_cells(cells: Sequence[Cell], *, jobs: int, keep_weights: bool) -> list[Outcome]:
    """Run the unfinished cells, `jobs` at a time, and print the progress.

    Args:
        cells: The cells, in the order to run them.
        jobs: See `run_tasks`.
        keep_weights: Keep the trained models; otherwise only metrics, history and predictions.

    Returns:
        The cells that failed.

    Raises:
        InputError: The folder of a cell has a run with other settings.
    """
    left = {cell.name: cell for cell in cells if not cell.finished()}
    total, failed = len(left), []
    if len(cells) > total:
        print(f"{len(cells) - total} of {len(cells)} runs are finished already", flush=True)
    pace: dict[str, list[tuple[float, int]]] = {}
    tasks = [Task(name, _run_cell, (cell, jobs, keep_weights), cell.log) for name, cell in left.items()]
    for number, outcome in enumerate(run_tasks(tasks, jobs), 1):
        cell = left.pop(outcome.task.name)
        pace.setdefault(_kind(cell), []).append((outcome.seconds, cell.work))
        row = None if outcome.error else cell.row()
        if row is None:
            failed.append(outcome)
            result = f"FAILED: {outcome.error}" + (f"; log: {cell.log}" if jobs else "")
        else:
            result = f"mAP {100 * row['mAP']:.2f} % on {row['scored_on']}"
        remaining = f"; about {_duration(_time_left(list(left.values()), pace, jobs))} left" if left else ""
        print(f"[{number}/{total}] {cell.name}: {result}, {_duration(outcome.seconds)}{remaining}", flush=True)
    return failed


def _kind(cell: Cell) -> str:
    return str(cell.facts.get("contender", cell.facts.get("variant")))


def _time_left(cells: Sequence[Cell], pace: Mapping[str, Sequence[tuple[float, int]]], jobs: int) -> float:
    """Estimated seconds, from the time per image of finished cells of the same kind, or of any kind."""

    def seconds_a_image(pairs: Sequence[tuple[float, int]]) -> float:
        return sum(seconds for seconds, _ in pairs) / max(sum(work for _, work in pairs), 1)

    overall = seconds_a_image([pair for pairs in pace.values() for pair in pairs])
    known = {kind: seconds_a_image(pairs) for kind, pairs in pace.items()}
    return sum(cell.work * known.get(_kind(cell), overall) for cell in cells) / max(jobs, 1)


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def _run_cell(cell: Cell, jobs: int, keep_weights: bool) -> None:
    """Train, write the record, and delete files that are no longer needed."""
    trained_before = (cell.folder / RunFile.METRICS).exists()
    started = time.perf_counter()
    with PeakMemory() as memory:
        metrics = train(cell.arguments)
    seconds = time.perf_counter() - started
    if metrics["mAP"] is None:
        raise InputError(f"no label has a positive in {metrics['split']}: choose a larger holdout")
    gpu = torch.cuda.is_available()
    model = load_model(str(cell.folder), field="output_dir")
    measured: dict[str, Any] = {
        **model_cost(model).to_dict(),
        "label_prototypes": getattr(model.config, "label_prototypes", None),
        "seconds_an_epoch": metrics["train_seconds"] / cell.arguments.train.epochs,
        "run_seconds": None if trained_before else seconds,
        "peak_memory_mb": None if trained_before else memory.megabytes,
        "gpu_peak_memory_mb": torch.cuda.max_memory_allocated() / 1e6 if gpu and not trained_before else None,
        "jobs": jobs,
        "cpu_threads": torch.get_num_threads(),
        "cpu": cpu_name(),
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "torch": torch.__version__,
        "sct_hf": __version__,
    }
    metrics = {name: value for name, value in metrics.items() if name != "skipped_images"}
    write_json(cell.record, {"identity": cell.identity(), "metrics": metrics, "measured": measured})
    if not keep_weights:
        for name in RunFile.of_kind("model"):
            (cell.folder / name).unlink(missing_ok=True)
