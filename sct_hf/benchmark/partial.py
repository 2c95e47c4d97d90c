"""Training with incomplete labels: treatments of unknown labels, over the share of known labels."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sct_hf.benchmark.cells import Cell, machines, make_cell, prepare, run_cells, shared_arguments
from sct_hf.benchmark.contenders import CONTENDERS, contender
from sct_hf.benchmark.plots import accuracy_against_known
from sct_hf.benchmark.settings import (
    BENCHMARK,
    BenchmarkArguments,
    Settings,
    file_name,
    refuse_settings,
    with_settings,
)
from sct_hf.benchmark.statistics import paired_difference, spread
from sct_hf.benchmark.tables import markdown_table, write_rows
from sct_hf.errors import InputError
from sct_hf.options import option
from sct_hf.training.arguments import HELD_OUT, Arguments

RUNS, TABLE = "runs", "partial"
BASE, BLEND = "ignore", "blend"
TREATMENTS = {
    BASE: "ignored",
    "negative": "taken as absent",
    "recover": "recovered",
    BLEND: "recovered and blended",
}
"""Values of the option unknown_labels, and their names in tables and plots."""
SINGLE_POSITIVE, ALL_KNOWN = "single positive", "all known"
_SET_HERE = {
    "head": "give --contender",
    "known_proportion": "give --proportions",
    "single_positive": "give --with_single_positive",
    "unknown_labels": "give --treatments",
}
_RUN_COLUMNS = ("variant", "known", "train_size", "seed", "scored_on", "mAP", "CF1", "OF1", "seconds_an_epoch")


@dataclass
class PartialArguments(BenchmarkArguments):
    """Options of the sweep over known labels, besides those of training."""

    proportions: list[float] = option(
        [0.1, 0.3, 0.5, 0.7, 0.9],
        "Probabilities that a label of an image is known; 1 adds a reference run with all labels.",
        group=BENCHMARK,
    )
    with_single_positive: bool = option(
        True, "Also train with one present label of each image known and all others hidden.", group=BENCHMARK
    )
    treatments: list[str] = option(
        list(TREATMENTS), f"Treatments of unknown labels: {', '.join(TREATMENTS)}.", group=BENCHMARK
    )
    seeds: int = option(
        3, "Runs of each, with seeds from --seed on and a new mask for each.", group=BENCHMARK, within="> 0"
    )
    contender: str = option("sct", f"Contender that sets the model: {', '.join(CONTENDERS)}.", group=BENCHMARK)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.treatments:
            if name not in TREATMENTS:
                raise InputError(f"treatments has {name!r}: choose from {', '.join(TREATMENTS)}")
        if not self.with_single_positive and all(proportion == 1 for proportion in self.proportions):
            raise InputError(
                f"proportions is {self.proportions}, in which nothing is unknown: give one in (0, 1), or "
                "--with_single_positive true"
            )


def partial(
    arguments: PartialArguments,
    training: Arguments,
    *,
    on_command_line: Collection[str] = (),
) -> int:
    """Sweep over known labels, and write runs.parquet, partial.parquet, their Markdown and a plot.

    Every run trains on all training images with some labels hidden. Its last epoch is scored on the evaluation split,
    once. With `eval_split` held_out, it trains on the rest of the training split and is scored on the held-out part:
    use this to try settings. Finished runs are not repeated.

    Args:
        arguments: Which proportions, treatments and seeds.
        training: Arguments of every run. The contender's settings replace those not named in `on_command_line`.
            `output_dir` is the benchmark's folder.
        on_command_line: Names of the options on the command line, which override the contender's settings.

    Returns:
        The number of runs that failed.

    Raises:
        InputError: Arguments or data cannot be used, or the folder has runs with other settings.
    """
    refuse_settings(on_command_line, _SET_HERE)
    data, train = training.data, training.train
    given = shared_arguments(training, arguments.jobs)
    kept = {} if data.eval_split == HELD_OUT else {"holdout": 0.0}
    base = with_settings(given, contender(arguments.contender).base(on_command_line), kept, {"draw_from_rest": True})
    if BLEND in arguments.treatments and base.model.head != "sct":
        raise InputError(
            f"treatments has {BLEND!r}, which blends what SCT's labels are pooled from: leave it out for contender "
            f"{arguments.contender}"
        )
    for known in _known_settings(arguments).values():  # what cannot be used is said before anything runs
        make_cell(base, Path(), {}, known)
    sizes, _ = prepare(base, arguments.train_sizes, arguments.jobs)
    cells = [
        make_cell(
            base,
            Path("runs", size.name, file_name(known), treatment, f"seed{seed}"),
            {"variant": treatment, "title": TREATMENTS[treatment], "known": known, **settings, "seed": seed}
            | {"train_size": size.name, "train_images": size.images},
            size.settings(),
            settings,
            {"unknown_labels": treatment, "seed": seed},
        )
        for size in sizes
        for seed in range(train.seed, train.seed + arguments.seeds)
        for known, settings in _known_settings(arguments).items()
        for treatment in ([BASE] if known == ALL_KNOWN else dict.fromkeys(arguments.treatments))
    ]
    print(f"{len(cells)} runs, scored on {data.dataset} {data.eval_split}", flush=True)
    failed = run_cells(cells, jobs=arguments.jobs, keep_weights=arguments.keep_weights)
    rows = [row for cell in cells if (row := cell.row()) is not None]
    if rows:
        _write(Path(train.output_dir), rows, cells, base, arguments)
    return len(failed)


def _known_settings(arguments: PartialArguments) -> dict[str, Settings]:
    """The known share in words, and its settings."""
    settings: dict[str, Settings] = {}
    for proportion in sorted(set(arguments.proportions)):
        name = ALL_KNOWN if proportion == 1 else f"{100 * proportion:g} %"
        settings[name] = {"known_proportion": proportion, "single_positive": False}
    if arguments.with_single_positive:
        settings[SINGLE_POSITIVE] = {"known_proportion": 1.0, "single_positive": True}
    return settings


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per train size and treatment: mean mAP in percent at each proportion, and over those below 1.

    The average covers proportions for which all treatments of the train size have runs. "± at 10 %" and so on are
    standard deviations over seeds. "Δ" is the mean difference from ignoring unknown labels, paired by proportion and
    seed.
    """
    table = []
    for size in dict.fromkeys(row["train_size"] for row in rows):
        runs = [row for row in rows if row["train_size"] == size]
        treatments = list(dict.fromkeys(row["variant"] for row in runs))
        knowns = list(dict.fromkeys(row["known"] for row in runs))
        compared = {row["variant"] for row in runs if row["known"] != ALL_KNOWN}
        scores = {
            (treatment, known): {row["seed"]: 100 * row["mAP"] for row in runs if _is(row, treatment, known)}
            for treatment in treatments
            for known in knowns
        }
        shared = [
            known
            for known in knowns
            if known not in (SINGLE_POSITIVE, ALL_KNOWN)
            and all(scores[each, known] for each in treatments if each in compared)
        ]
        for treatment in treatments:
            line: dict[str, Any] = {
                "train images": runs[0]["train_images"],
                "unknown labels": TREATMENTS[treatment],
                "n": max(len(scores[treatment, known]) for known in knowns),
            }
            averaged: dict[Any, float] = {
                (known, seed): value for known in shared for seed, value in scores[treatment, known].items()
            }
            base: dict[Any, float] = {
                (known, seed): value for known in shared for seed, value in scores.get((BASE, known), {}).items()
            }
            for known in knowns:
                found = list(scores[treatment, known].values())
                mean, deviation, _ = spread(found) if found else (None, None, 0)
                line |= {known: mean and round(mean, 2), f"± {known}": deviation and round(deviation, 2)}
            means = [spread(list(scores[treatment, known].values())).mean for known in shared if treatment in compared]
            difference = None if treatment == BASE else paired_difference(averaged, base)
            line["average"] = round(spread(means).mean, 2) if means else None
            line["Δ average"] = None if difference is None else round(difference.mean, 2)
            table.append(line | {"train size": size})
    return table


def _is(row: Mapping[str, Any], treatment: str, known: str) -> bool:
    return row["variant"] == treatment and row["known"] == known


def _write(
    folder: Path,
    rows: list[dict[str, Any]],
    cells: Sequence[Cell],
    base: Arguments,
    arguments: PartialArguments,
) -> None:
    train, recovery = base.train, base.objectives["recovery"]
    size = base.model.input_size
    about = (
        f"{base.data.dataset}, {base.data.train_split} → {rows[0]['scored_on']} ({rows[0]['num_images']:,} images); "
        f"{base.model.backbone}, {'frozen' if train.freeze_backbone else 'fine-tuned'}, {size} px, contender "
        f"{arguments.contender}, learning rate {train.learning_rate:g}."
    )
    caption = (
        f"{about}\n\nmAP %, mean over n seeds, each with a mask of its own (± standard deviation); rows: what is done "
        "about unknown labels, columns: the share of entries that is known in training. Average: over the proportions "
        f"below 1; Δ: its difference from unknown labels ignored. Recovery: weight {recovery.recovery_weight:g}, "
        f"warm-up over {recovery.recovery_warmup:g} of the steps. {len(rows)} of {len(cells)} runs. {machines(rows)}"
    )
    write_rows(folder, RUNS, rows, caption=f"Every run of the sweep. {about}", columns=_RUN_COLUMNS)
    table = summary(rows)
    hidden = {"train size"} if len({row["train_size"] for row in rows}) == 1 else set()
    hidden |= {name for name in table[0] if name.startswith("± ")} if arguments.seeds == 1 else set()
    columns = [name for name in dict.fromkeys(key for line in table for key in line) if name not in hidden]
    write_rows(folder, TABLE, table, caption=caption, columns=columns)
    for train_size_name in dict.fromkeys(row["train_size"] for row in rows):
        runs = [row for row in rows if row["train_size"] == train_size_name]
        accuracy_against_known(runs, folder / f"partial_{train_size_name}.png", about)
    print(f"\n{markdown_table(table, columns)}\n\nTables and plots are in {folder}")
