"""Heads on the same backbone and data: settings searched on held-out parts of train, then scored once per seed."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sct_hf.benchmark.cells import Cell, machines, make_cell, prepare, run_cells, shared_arguments
from sct_hf.benchmark.contenders import CONTENDERS, WIDE, contender
from sct_hf.benchmark.plots import accuracy_against_cost, accuracy_against_images
from sct_hf.benchmark.settings import (
    BENCHMARK,
    BenchmarkArguments,
    Settings,
    TrainSize,
    file_name,
    named,
    refuse_settings,
    value_of,
)
from sct_hf.benchmark.statistics import spread
from sct_hf.benchmark.tables import markdown_table, write_rows
from sct_hf.errors import InputError
from sct_hf.options import option
from sct_hf.training.arguments import HELD_OUT, Arguments
from sct_hf.training.run_files import RunFile

SEARCH, FINAL = "search", "final"
RUNS, TABLE = "runs", "accuracy"
_RECIPE = "as in the recipe"
_RATES = ("learning_rate", "weight_decay")
_RUN_COLUMNS = (
    *("stage", "contender", "train_size", "setting", "chosen", "fold", "seed", "scored_on", "mAP", "CF1", "OF1"),
    "seconds_an_epoch",
)


@dataclass
class AccuracyArguments(BenchmarkArguments):
    """Options of the comparison of heads, besides those of training."""

    heads: list[str] = option(
        [name for name in CONTENDERS if name != WIDE],
        f"Contenders: {', '.join(CONTENDERS)}; all but {WIDE} by default.",
        group=BENCHMARK,
    )
    seeds: int = option(5, "Final runs of each head, with seeds from --seed on.", group=BENCHMARK, within="> 0")
    search_folds: int = option(
        1,
        "Parts held out of train (each a share --holdout, drawn by its number) on which every setting of a head's "
        "grid is tried; 0 takes the learning rate and weight decay of the recipe.",
        group=BENCHMARK,
        within=">= 0",
    )
    init_from: str | None = option(
        None,
        "Folder of another comparison with --keep_weights. Each final run starts from its run of the same head, size "
        "and seed, with the settings chosen there except learning rate and weight decay.",
        group=BENCHMARK,
        unset="none",
    )


def accuracy(
    arguments: AccuracyArguments,
    training: Arguments,
    *,
    on_command_line: Collection[str] = (),
) -> int:
    """Compare heads, and write runs.parquet, accuracy.parquet, their Markdown, and plots into the output folder.

    Every setting of a head's grid trains on the rest of the training split, and its last epoch is scored on the
    held-out part. The setting with the best mean mAP then trains on all training images with each seed. Its last epoch
    is scored on the evaluation split, once. Nothing is chosen on the evaluation split. Finished runs are not repeated.

    Args:
        arguments: Which heads, sizes and seeds.
        training: Arguments of every run; contenders and sizes override them. `holdout` is the share to hold out in
            the search, `output_dir` the benchmark's folder.
        on_command_line: Names of the options on the command line; those that the comparison sets are refused.

    Returns:
        The number of runs that failed.

    Raises:
        InputError: Arguments or data cannot be used, or the folder has runs with other settings.
    """
    names = list(dict.fromkeys(arguments.heads))
    data, train = training.data, training.train
    _check(arguments, training, names, on_command_line)
    base = shared_arguments(training, arguments.jobs)
    whole: Settings = {"holdout": 0.0, "draw_from_rest": True}
    for name in names:  # what cannot be used is said before anything runs
        make_cell(base, Path(), {}, contender(name).settings, *contender(name).candidates()[:1], whole)
    sizes, available = prepare(base, arguments.train_sizes, arguments.jobs, whole)
    pairs = [(size, name) for size in sizes for name in names]
    searches = [cell for size, name in pairs for cell in _search_cells(base, name, size, arguments, available)]
    if searches:
        print(f"search: {len(searches)} runs, scored on held-out parts of {data.train_split}", flush=True)
    failed = run_cells(searches, jobs=arguments.jobs, keep_weights=False)
    choices = {(size.name, name): choose(searches, size.name, name, arguments.search_folds) for size, name in pairs}
    finals = [
        cell
        for size, name in pairs
        if (choice := choices[size.name, name]) is not None
        for cell in _final_cells(base, name, size, choice, arguments)
    ]
    print(f"final: {len(finals)} runs, scored on {data.dataset} {data.eval_split}", flush=True)
    failed += run_cells(finals, jobs=arguments.jobs, keep_weights=arguments.keep_weights)
    rows = _rows(searches, finals, choices)
    if rows:
        _write(Path(train.output_dir), rows, sizes, base, arguments)
    return len(failed)


def _check(
    arguments: AccuracyArguments, training: Arguments, names: Sequence[str], on_command_line: Collection[str]
) -> None:
    data, set_here = training.data, dict[str, str]()
    for name in names:
        one = contender(name, "heads")
        searched = [key for key in one.grid if arguments.search_folds or key not in _RATES]
        chosen = searched if arguments.search_folds or arguments.init_from else []
        for key, value in {**one.settings, **{key: one.grid[key] for key in chosen}}.items():
            set_here[key] = f"{one.title} has {value} (sct_hf/benchmark/contenders.py)"
    refuse_settings(on_command_line, set_here)
    if data.eval_split == HELD_OUT:
        raise InputError(
            f"eval_split is {HELD_OUT!r}: accuracy chooses on the held-out part and scores an evaluation split; give "
            "one, or use ablation"
        )
    if arguments.search_folds and data.holdout == 0:
        raise InputError("holdout is 0: settings are searched on a part held out; give its share, or --search_folds 0")


@dataclass(frozen=True)
class Choice:
    """The setting chosen for a head: values by field, and its mean held-out mAP (None without a search)."""

    settings: Settings
    held_out_mAP: float | None  # noqa: N815


def choose(cells: Sequence[Cell], size: str, name: str, folds: int) -> Choice | None:
    """Choose the setting of a head with the best mean held-out mAP over the folds; the first wins a tie.

    A setting with a failed run is not chosen.

    Args:
        cells: Cells of the search, in the order of the grid.
        size: Name of the train size.
        name: Name of the contender.
        folds: Number of folds; 0 for no search.

    Returns:
        The choice, or None if no setting has all of its runs.
    """
    if folds == 0:
        return Choice({}, None)
    scores: dict[str, list[float]] = {}
    settings: dict[str, Settings] = {}
    for cell in cells:
        if (cell.facts["train_size"], cell.facts["contender"]) != (size, name):
            continue
        row = cell.row()
        if row is not None:
            settings[row["setting"]] = {field: value_of(cell.arguments, field) for field in contender(name).grid}
            scores.setdefault(row["setting"], []).append(row["mAP"])
    means = {setting: spread(values).mean for setting, values in scores.items() if len(values) == folds}
    if not means:
        return None
    best = max(means, key=lambda setting: means[setting])
    return Choice(settings[best], means[best])


def _search_cells(
    base: Arguments, name: str, size: TrainSize, arguments: AccuracyArguments, available: int
) -> list[Cell]:
    rest = available - min(max(round(base.data.holdout * available), 1), available - 1)
    cells = []
    for setting in contender(name).candidates():
        for fold in range(arguments.search_folds):
            facts = _facts(SEARCH, name, size, setting) | {
                "train_images": min(size.images, rest),
                "fold": fold,
                "seed": fold,
            }
            cells.append(
                make_cell(
                    base,
                    Path(SEARCH, size.name, name, file_name(named(setting)), f"fold{fold}"),
                    facts,
                    contender(name).settings,
                    setting,
                    size.settings(),
                    {"eval_split": HELD_OUT, "draw_from_rest": True, "holdout_seed": fold, "seed": fold},
                )
            )
    return cells


def _final_cells(
    base: Arguments, name: str, size: TrainSize, choice: Choice, arguments: AccuracyArguments
) -> list[Cell]:
    cells = []
    for seed in range(base.train.seed, base.train.seed + arguments.seeds):
        source, kept = _source(arguments.init_from, name, size, seed) if arguments.init_from else (None, {})
        setting = kept | choice.settings
        facts = _facts(FINAL, name, size, setting) | {"train_images": size.images, "seed": seed}
        cells.append(
            make_cell(
                base,
                Path(FINAL, size.name, name, file_name(named(setting) or _RECIPE), f"seed{seed}"),
                facts,
                contender(name).settings,
                setting,
                size.settings(),
                {"holdout": 0.0, "draw_from_rest": True, "seed": seed, "init_checkpoint": source},
            )
        )
    return cells


def _facts(stage: str, name: str, size: TrainSize, setting: Settings) -> dict[str, Any]:
    title, head = contender(name).title, contender(name).settings["head"]
    chosen_from = {"setting": named(setting) or _RECIPE, "used_to_choose": stage == SEARCH}
    return {"stage": stage, "contender": name, "title": title, "head": head, "train_size": size.name, **chosen_from}


def _source(folder: str, name: str, size: TrainSize, seed: int) -> tuple[str, Settings]:
    """The folder of the run to start from, and the settings of the head's losses chosen for it."""
    table = Path(folder) / f"{RUNS}.parquet"
    if not table.is_file():
        raise InputError(f"init_from is {folder!r}, which has no {table.name}: give the folder of a comparison")
    runs = pd.read_parquet(table)
    found = runs[
        (runs["stage"] == FINAL)
        & (runs["contender"] == name)
        & (runs["train_size"] == size.name)
        & (runs["seed"] == seed)
    ]
    source = Path(folder) / str(found["folder"].iloc[0]) if len(found) else None
    if source is None or not (source / RunFile.WEIGHTS).is_file():
        raise InputError(
            f"init_from is {folder!r}, which has no trained model of {name}, train size {size.name}, seed {seed}: run "
            "that comparison in a new output_dir, with --keep_weights"
        )
    arguments = json.loads(found["arguments"].iloc[0])
    arguments |= arguments["set"]
    return str(source), {field: arguments[field] for field in contender(name).grid if field not in _RATES}


def _rows(
    searches: Sequence[Cell], finals: Sequence[Cell], choices: Mapping[tuple[str, str], Choice | None]
) -> list[dict[str, Any]]:
    """All finished runs. Rows of the search say whether their setting was chosen, the others with which score."""
    rows = []
    for cell in (*searches, *finals):
        row = cell.row()
        if row is None:
            continue
        choice = choices[row["train_size"], row["contender"]]
        row["chosen"] = row["stage"] == FINAL or (choice is not None and row["setting"] == named(choice.settings))
        row["chosen_by_held_out_mAP"] = choice.held_out_mAP if choice and row["stage"] == FINAL else None
        rows.append(row)
    return rows


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per train size and head, in order of appearance: means in percent ± standard deviations over seeds."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["stage"] == FINAL:
            groups.setdefault((row["train_size"], row["contender"]), []).append(row)
    table = []
    for (size, name), runs in groups.items():
        first = runs[0]
        line: dict[str, Any] = {"train images": first["train_images"], "head": first["title"], "n": len(runs)}
        for metric in ("mAP", "CF1", "OF1"):
            mean, deviation, _ = spread([100 * run[metric] for run in runs])
            line |= {f"{metric} %": round(mean, 2), f"± {metric}": round(deviation, 2)}
        searched = first["chosen_by_held_out_mAP"]
        seconds, megabytes = (
            spread([run[key] for run in runs if run[key] is not None] or [float("nan")]).mean
            for key in ("seconds_an_epoch", "peak_memory_mb")
        )
        grid = {key: first[key] for key in contender(name).grid if key in first}
        line |= {
            "held-out mAP %": None if searched is None else round(100 * searched, 2),
            "setting": first["setting"],
            "at the edge of its grid": ", ".join(contender(name).at_edge(grid)) if searched is not None else "",
            "head Mparameters": round(first["head_parameters"] / 1e6, 3),
            "head GFLOP": first["head_gflop"],
            "s an epoch": round(seconds, 1),
            "peak MB": round(megabytes) if megabytes == megabytes else None,
            "train size": size,
        }
        table.append(line)
    return table


def _write(
    folder: Path, rows: list[dict[str, Any]], sizes: Sequence[TrainSize], base: Arguments, arguments: AccuracyArguments
) -> None:
    about = _about(base, rows)
    write_rows(folder, RUNS, rows, caption=f"Every run of the comparison. {about}", columns=_RUN_COLUMNS)
    table = summary(rows)
    if not table:
        return
    schedule = "; ".join(f"{size.name}: {size.epochs} epochs, batches of {size.batch_size}" for size in sizes)
    split = base.data.train_split
    share, folds = f"{base.data.holdout:g}", arguments.search_folds
    searched = (
        f"The setting of each head and train size is the one with the best mAP of the last epoch, a mean over {folds} "
        f"part(s) held out of {split} ({share} each), when trained on as many images of the rest: the column of "
        f"held-out figures. The other figures are of runs on images drawn from all of {split}."
        if folds
        else "Learning rate and weight decay are those of the recipe: nothing was searched."
    )
    caption = (
        f"{about}\n\nMean ± standard deviation over n seeds; small train sizes are drawn again for each seed. "
        f"{searched} The last epoch's averaged weights; {base.data.eval_split} is scored once a run. Schedule of "
        f"every head: {schedule}. A multiply-add counts as two FLOP; the head's are of one image, forward. Memory "
        f"is what the process allocated. {machines(rows)}"
    )
    columns = [name for name in table[0] if name != "train size"]
    write_rows(folder, TABLE, table, caption=caption, columns=columns)
    finals = [row for row in rows if row["stage"] == FINAL]
    for size in sizes:
        runs = [row for row in finals if row["train_size"] == size.name]
        if runs:
            title = f"{about} {size.images:,} training images."
            accuracy_against_cost(runs, folder / f"cost_{size.name}.png", title)
    if len({row["train_images"] for row in finals}) > 1:
        accuracy_against_images(finals, folder / "train_sizes.png", about)
    print(f"\n{markdown_table(table, columns)}\n\nTables and plots are in {folder}")


def _about(base: Arguments, rows: Sequence[Mapping[str, Any]]) -> str:
    frozen = "frozen" if base.train.freeze_backbone else "fine-tuned"
    size = base.model.input_size
    side = f"{size} px" if isinstance(size, int) else f"{size[0]} × {size[1]} px"
    count = next((f" ({row['num_images']:,} images)" for row in rows if row["stage"] == FINAL), "")
    splits = f"{base.data.train_split} → {base.data.eval_split}{count}"
    return f"{base.data.dataset}, {splits}; {base.model.backbone}, {frozen}, {side}."
