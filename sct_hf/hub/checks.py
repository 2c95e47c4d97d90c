"""Checks of a folder to publish: a complete, finished run of SCT with figures that belong to its weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.lib
from transformers import CONFIG_MAPPING, AutoImageProcessor

from sct_hf.errors import InputError
from sct_hf.escaping import from_csv_cell
from sct_hf.files import sha256_of_file
from sct_hf.hub.decided import read_decisions
from sct_hf.hub.evaluation import Evaluation, read_evaluation
from sct_hf.hub.records import check_facts, is_number, read_object, read_record, refuse
from sct_hf.metrics.frequency import frequency_groups, group_metrics
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.metrics.hierarchical import hierarchical_metrics
from sct_hf.model.configuration_sct import SCTConfig
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification
from sct_hf.network import failure_reason
from sct_hf.peers.modeling_peer import PeerConfig
from sct_hf.peers.registry import MODELS
from sct_hf.pretrained import load_pretrained
from sct_hf.training.acting import acting_metrics
from sct_hf.training.models import load_model
from sct_hf.training.report import Predictions, RunFacts, label_table
from sct_hf.training.run_files import RunFile
from sct_hf.training.saved_scores import read_wide

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class TrainedRun:
    """A checked output folder of training.

    Attributes:
        folder: The folder.
        model: Its model, in evaluation mode, on the CPU.
        processor: Its image processor.
        metrics: Content of metrics.json.
        per_label: The table of `label_table`: one row per label, in the order of the logits.
        record: Content of training_args.json: `arguments`, `command`, `versions`.
        evaluation: An evaluation to show on the card, if any.
        decisions: Content of decisions.json, if there is one.
    """

    folder: Path
    model: SCTForMultiLabelClassification
    processor: Any
    metrics: dict[str, Any]
    per_label: pd.DataFrame
    record: dict[str, Any]
    evaluation: Evaluation | None = None
    decisions: dict[str, Any] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the run, by name."""
        return self.record["arguments"]


def read_run(folder: str | Path, evaluation: str | Path | None = None) -> TrainedRun:
    """Read the output folder of a training run and check that it can be published.

    The figures are recomputed from predictions.parquet. The weights are compared with the digest that training
    recorded with the figures.

    Args:
        folder: The output folder of `sct-hf train`.
        evaluation: The output folder of `sct-hf evaluate --localisation true` on it, if the card should show it.

    Raises:
        InputError: The folder is incomplete or unfinished, does not load, is not an SCT model, or its figures or those
            of the evaluation belong to other weights.
    """
    folder = Path(folder)
    missing = [name for name in RunFile.of_kind("model", "report") if not (folder / name).is_file()]
    if missing:
        refuse(folder, f"it lacks {', '.join(missing)}", "give the whole output folder of sct-hf train")
    record, metrics = read_record(folder), read_object(folder, RunFile.METRICS)
    config = read_object(folder, RunFile.CONFIG)
    _check_kind(folder, config)
    _check_weights(folder, metrics)
    check_facts(folder, metrics)
    model = load_model(str(folder), field="folder")
    assert isinstance(model, SCTForMultiLabelClassification)
    try:
        processor = load_pretrained(AutoImageProcessor, folder)
    except InputError as error:
        refuse(folder, f"its preprocessor_config.json cannot be used ({error})", "train again")
    more = None if evaluation is None else read_evaluation(evaluation, metrics["weights_sha256"])
    decisions, table = read_decisions(folder, model.config), _check_metrics(folder, model, metrics)
    run = TrainedRun(folder, model.eval(), processor, metrics, table, record, more, decisions)
    _check_arguments(run)
    return run


def _check_kind(folder: Path, config: dict[str, Any]) -> None:
    kind = config.get("model_type")
    if kind == PeerConfig.model_type:
        refuse(
            folder,
            f"it holds the peer head {config.get('head')!r}, whose code stays in the package (model_type {kind!r})",
            "only SCT travels with its code; give a folder trained with --head sct",
        )
    if str(kind) not in CONFIG_MAPPING or not issubclass(CONFIG_MAPPING[str(kind)], SCTConfig):
        refuse(folder, f"its model_type is {kind!r:.100}", "give a folder trained with --head sct")


def _check_weights(folder: Path, metrics: dict[str, Any]) -> None:
    written, found = metrics.get("weights_sha256"), sha256_of_file(folder / RunFile.WEIGHTS)
    if written is None:
        refuse(folder, f"{RunFile.METRICS} does not name its weights (no weights_sha256)", "train again")
    if written != found:
        refuse(
            folder,
            f"{RunFile.METRICS} belongs to other weights: weights_sha256 {str(written)[:12]}…, but {RunFile.WEIGHTS} "
            f"has {found[:12]}…",
            "put the trained weights back, or train again",
        )


def _check_metrics(folder: Path, model: SCTForMultiLabelClassification, metrics: dict[str, Any]) -> pd.DataFrame:
    """Compare figures with those of predictions.parquet; return the table of the labels."""
    names = model.config.label_names
    try:
        columns = read_wide(folder / RunFile.PREDICTIONS)
        scores, targets = (columns[[f"{kind}/{name}" for name in names]].to_numpy() for kind in ("score", "target"))
        predictions = Predictions(columns["image_id"].tolist(), scores, targets, names)
        computed, table = multilabel_metrics(scores, targets, label_names=names), label_table(predictions)
        if parents := model.config.label_parents:
            computed |= hierarchical_metrics(scores, targets, parents, names)
        groups = None
        if "frequency_limits" in metrics:
            positives = pd.read_csv(folder / RunFile.PER_LABEL)["train_positives"].astype(int).to_numpy()
            groups = frequency_groups(positives, metrics["frequency_limits"])
            computed |= group_metrics(computed["AP"], names, groups)
    except (KeyError, OSError, TypeError, ValueError, OverflowError, pyarrow.lib.ArrowException) as error:
        reason = failure_reason(error)
        refuse(
            folder, f"{RunFile.PREDICTIONS} does not hold scores and targets of its labels ({reason})", "train again"
        )
    if scores.min() < 0 or scores.max() > 1:
        refuse(folder, f"{RunFile.PREDICTIONS} has scores outside [0, 1]", "train again")
    if "calibration" in metrics or model.config.thresholds is not None:
        computed |= acting_metrics(scores, targets, model.config, groups)
    for name, value in computed.items():
        if name not in metrics:
            refuse(folder, f"{RunFile.METRICS} lacks {name}", "train again")
        if not _same(metrics[name], value):
            found = name if isinstance(value, dict) else f"{name} {metrics[name]!r:.100}"
            refuse(folder, f"{RunFile.METRICS}: {found} is not what {RunFile.PREDICTIONS} gives", "train again")
    if unknown := sorted(metrics.keys() - computed.keys() - RunFacts.__annotations__.keys()):
        refuse(folder, f"{RunFile.METRICS} has {', '.join(unknown):.300}, which this run did not measure", "remove it")
    _check_table(folder, table)
    return table


def _check_table(folder: Path, table: pd.DataFrame) -> None:
    try:
        written = pd.read_csv(folder / RunFile.PER_LABEL, keep_default_na=False, na_values=[""], dtype={"label": str})
        figures = table.columns.drop("label")
        same = [*map(from_csv_cell, written["label"].fillna(""))] == table["label"].tolist() and np.allclose(
            written[figures].astype(float), table[figures].astype(float), atol=_TOLERANCE, equal_nan=True
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        refuse(folder, f"{RunFile.PER_LABEL} cannot be read ({failure_reason(error)})", "train again")
    if not same:
        refuse(folder, f"{RunFile.PER_LABEL} is not what {RunFile.PREDICTIONS} gives", "train again")


def _check_arguments(run: TrainedRun) -> None:
    config, arguments = run.model.config, run.arguments
    sizes = arguments["image_size"]
    head = next((name for name, kind in MODELS.items() if kind is type(run.model)), config.model_type)
    described = {"head": head, "backbone": config.backbone, "image_size": [*config.input_size]}
    told = {name: arguments.get(name) for name in ("head", "backbone")} | {"image_size": (sizes * 2)[:2]}
    for name, value in described.items():
        if told[name] != value:
            reason = f"{RunFile.ARGUMENTS} says {name} {told[name]!r:.100}, but the model's is {value!r}"
            refuse(run.folder, reason, "put back the files of one run")


def _same(written: Any, computed: Any) -> bool:
    if isinstance(computed, dict):
        return (
            isinstance(written, dict)
            and written.keys() == computed.keys()
            and all(_same(written[name], value) for name, value in computed.items())
        )
    if computed is None or written is None:
        return written is computed
    return is_number(written) and abs(written - computed) <= _TOLERANCE
