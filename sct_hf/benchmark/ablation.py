"""Variants of SCT, one change at a time, compared on held-out parts of train."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sct_hf.benchmark.cells import machines, make_cell, prepare, run_cells, shared_arguments
from sct_hf.benchmark.contenders import CONTENDERS, contender
from sct_hf.benchmark.settings import (
    BENCHMARK,
    BenchmarkArguments,
    Settings,
    file_name,
    named,
    refuse_settings,
    value_of,
    with_settings,
)
from sct_hf.benchmark.statistics import paired_difference, spread
from sct_hf.benchmark.tables import markdown_table, write_rows
from sct_hf.benchmark.variants import BASE, FURTHER_VARIANTS, VARIANTS
from sct_hf.errors import InputError
from sct_hf.metrics.frequency import GROUPS
from sct_hf.objectives.contrast import ContrastOptions
from sct_hf.objectives.erasing import ErasingOptions
from sct_hf.options import option, options_of
from sct_hf.peers.label_text_head import LabelTextHead
from sct_hf.peers.registry import HEADS, MODELS, holds_classes, reads_label_text
from sct_hf.training.arguments import HELD_OUT, Arguments, ModelArguments
from sct_hf.training.model_settings import config_fields

RUNS, TABLE = "runs", "ablation"
TOGETHER = "together"
_METRICS = ("mAP", "CF1", "OF1")
_GROUP_METRICS = tuple(f"mAP_{group}" for group in GROUPS)
_RUN_COLUMNS = ("variant", "changes", "train_size", "fold", "seed", "scored_on", *_METRICS, "seconds_an_epoch")


@dataclass
class AblationArguments(BenchmarkArguments):
    """Options of the ablation. Options of training change the base."""

    variants: list[str] = option(
        list(VARIANTS),
        f"Variants to run: {', '.join([*VARIANTS, *FURTHER_VARIANTS])}. The base always runs.",
        group=BENCHMARK,
    )
    together: list[str] = option([], "Also run these variants combined, as one more variant.", group=BENCHMARK)
    contender: str = option("sct", f"Contender that sets the base: {', '.join(CONTENDERS)}.", group=BENCHMARK)
    folds: int = option(
        2, "Held-out parts of train, each of share --holdout, drawn by their number.", group=BENCHMARK, within="> 0"
    )
    seeds: int = option(2, "Runs on each part, with seeds from --seed on.", group=BENCHMARK, within="> 0")


def ablation(
    arguments: AblationArguments,
    training: Arguments,
    *,
    on_command_line: Collection[str] = (),
) -> int:
    """Compare variants, and write runs.parquet, ablation.parquet and their Markdown into the output folder.

    Every run trains on the rest of the training split, or on as many of its images as the train size says. Its last
    epoch is scored on the held-out part. The evaluation split is not read. Finished runs are not repeated.

    Args:
        arguments: Which variants, sizes, folds and seeds.
        training: Arguments of the base. The contender's settings replace those not named in `on_command_line`.
            `holdout` is the share to hold out, `output_dir` the benchmark's folder.
        on_command_line: Names of the options on the command line, which override the contender's settings.

    Returns:
        The number of runs that failed.

    Raises:
        InputError: Arguments or data cannot be used, or the folder has runs with other settings.
    """
    refuse_settings(on_command_line, {"head": "give --contender"})
    data, train = training.data, training.train
    if data.holdout == 0:
        raise InputError(
            "holdout is 0: variants are compared on a held-out part of train; give its share, such as 0.25"
        )
    given = shared_arguments(training, arguments.jobs)
    judged: Settings = {"eval_split": HELD_OUT, "draw_from_rest": True}
    base = with_settings(given, contender(arguments.contender).base(on_command_line), judged)
    variants = _variants(arguments, base)
    sizes, _ = prepare(base, arguments.train_sizes, arguments.jobs)
    cells = [
        make_cell(
            base,
            Path("runs", size.name, file_name(name), f"fold{fold}-seed{seed}"),
            {"variant": name, "changes": named(settings), "train_size": size.name, "train_images": size.images}
            | {"fold": fold, "seed": seed},
            size.settings(),
            settings,
            {"holdout_seed": fold, "seed": seed},
        )
        for size in sizes
        for fold in range(arguments.folds)
        for seed in range(train.seed, train.seed + arguments.seeds)
        for name, settings in variants.items()
    ]
    print(f"{len(cells)} runs, scored on held-out parts of {data.train_split}", flush=True)
    failed = run_cells(cells, jobs=arguments.jobs, keep_weights=arguments.keep_weights)
    rows = [row for cell in cells if (row := cell.row()) is not None]
    if rows:
        _write(Path(train.output_dir), rows, base, arguments)
    return len(failed)


def _variants(arguments: AblationArguments, base: Arguments) -> dict[str, Settings]:
    """The base and the requested variants, without those that change nothing."""
    known = VARIANTS | FURTHER_VARIANTS
    for asked in ("variants", "together"):
        for name in getattr(arguments, asked):
            if name not in known:
                raise InputError(f"{asked} has {name!r}: choose from {', '.join(known)}")
    wanted = {name: known[name] for name in arguments.variants}
    if arguments.together:
        wanted[TOGETHER] = _at_once(arguments.together)
    same = [name for name, settings in wanted.items() if _has(base, settings)]
    if same:
        print(f"left out, since the base has them already: {', '.join(same)}", flush=True)
    ignored = _ignored_by(base.model.head)
    idle = [name for name, settings in wanted.items() if settings.keys() <= ignored and name not in same]
    if idle:
        print(f"left out, since head {base.model.head} knows nothing of them: {', '.join(idle)}", flush=True)
    return {BASE: {}} | {name: settings for name, settings in wanted.items() if name not in (*same, *idle)}


def _at_once(variants: Sequence[str]) -> Settings:
    """The settings of several variants.

    Raises:
        InputError: Two variants set one field differently. A change of structure sets the head.
    """
    joined: Settings = {}
    for variant in variants:
        for name, value in (VARIANTS | FURTHER_VARIANTS)[variant].items():
            if joined.setdefault(name, value) != value:
                raise InputError(f"together has {variant!r}, which sets {name} as another does: leave one of them out")
    return joined


def _has(base: Arguments, settings: Settings) -> bool:
    """Whether the base has all these settings; whether it has prototypes may be unknown before training."""
    given = base.model.label_prototypes
    return all(
        (given if name == "label_prototypes" else value_of(base, name)) == value for name, value in settings.items()
    )


def _ignored_by(head: str) -> set[str]:
    """The fields of variants that a peer head ignores; empty for SCT."""
    if head in MODELS:
        return set()
    read = {*config_fields(head)} | ({"label_encoder"} if reads_label_text(head) or holds_classes(head) else set())
    if getattr(HEADS[head], "transport_loss", None) in (None, LabelTextHead.transport_loss):
        read.discard("transport_loss_weight")
    return {*options_of(ModelArguments, ContrastOptions, ErasingOptions), *config_fields("sct")} - read


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per train size and variant: means in percent, and paired differences from the base ± standard errors."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["train_size"], row["variant"]), []).append(row)
    # Those of rare, common and frequent labels where every run has them.
    metrics = (*_METRICS, *(name for name in _GROUP_METRICS if all(row.get(name) is not None for row in rows)))
    table = []
    for (size, name), runs in groups.items():
        base = groups.get((size, BASE), [])
        line: dict[str, Any] = {
            "train images": runs[0]["train_images"],
            "variant": name,
            "changes": runs[0]["changes"] or "–",
            "n": len(runs),
        }
        for metric in metrics:
            line[f"{metric} %"] = round(spread([100 * run[metric] for run in runs]).mean, 2)
            difference = None if name == BASE else paired_difference(_by_pair(runs, metric), _by_pair(base, metric))
            line[f"Δ {metric}"] = None if difference is None else round(difference.mean, 2)
            line[f"± {metric}"] = None if difference is None else round(difference.standard_error, 2)
        line |= {
            "head Mparameters": round(runs[0]["head_parameters"] / 1e6, 3),
            "head GFLOP": runs[0]["head_gflop"],
            "s an epoch": round(spread([run["seconds_an_epoch"] for run in runs]).mean, 1),
            "train size": size,
        }
        table.append(line)
    return table


def _by_pair(runs: Sequence[Mapping[str, Any]], metric: str) -> dict[Any, float]:
    return {(run["fold"], run["seed"]): 100 * run[metric] for run in runs}


def _given(base: Arguments, name: str) -> Any:
    """The base's value of a setting; None if it leaves it to the configuration."""
    return base.to_dict().get(name, base.model.set.get(name))


def _write(folder: Path, rows: list[dict[str, Any]], base: Arguments, arguments: AblationArguments) -> None:
    fields = dict.fromkeys(name for variant in (VARIANTS | FURTHER_VARIANTS).values() for name in variant)
    own = {name: value for name in fields if (value := _given(base, name)) is not None}
    about = (
        f"{base.data.dataset}, {base.model.backbone}, {'frozen' if base.train.freeze_backbone else 'fine-tuned'}. "
        f"Judged on {arguments.folds} part(s) held out of {base.data.train_split} ({base.data.holdout:g} each, drawn "
        f"again), {arguments.seeds} seed(s) on each; the evaluation split is not read."
    )
    caption = (
        f"{about}\n\nBase: contender {arguments.contender} with {named(own)}, the rest as in `SCTConfig`. Δ: mean "
        "over the pairs (fold, seed) of the difference from the base, in points; ±: its standard error. The held-out "
        "parts overlap, so that it is rather too small, and among many variants some differ by chance. "
        f"{machines(rows)}"
    )
    write_rows(folder, RUNS, rows, caption=f"Every run of the ablation. {about}", columns=_RUN_COLUMNS)
    table = summary(rows)
    columns = [name for name in table[0] if name != "train size"]
    write_rows(folder, TABLE, table, caption=caption, columns=columns)
    print(f"\n{markdown_table(table, columns)}\n\nThe tables are in {folder}")
