"""An evaluation that the card shows besides the figures of training: where the maps of labels point."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypedDict

from sct_hf.errors import InputError
from sct_hf.hub.records import is_number
from sct_hf.metrics.localisation import FIGURES
from sct_hf.network import failure_reason
from sct_hf.training.localisation import METHODS
from sct_hf.training.run_files import RunFile

EVALUATION = "localisation.json"
"""The file that is published."""


class Evaluation(TypedDict):
    """The published part of an evaluation's metrics.json."""

    dataset: str
    split: str
    weights_sha256: str
    localisation: dict[str, Any]


def read_evaluation(folder: str | Path, weights: str) -> Evaluation:
    """Read the output folder of `sct-hf evaluate --localisation true`.

    Args:
        folder: The folder.
        weights: SHA-256 digest of the weights to publish.

    Raises:
        InputError: It cannot be read, has no localisation, or belongs to other weights.
    """
    file = Path(folder) / RunFile.METRICS

    def refuse(reason: str) -> NoReturn:
        remedy = "give the output folder of sct-hf evaluate --localisation true on the model to publish"
        raise InputError(f"evaluation is {str(folder)!r}, whose {RunFile.METRICS} {reason}: {remedy}")

    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        refuse(f"cannot be read ({failure_reason(error)})")
    if not isinstance(metrics, dict) or not isinstance(metrics.get("localisation"), dict):
        refuse("has no localisation")
    if metrics.get("weights_sha256") != weights:
        refuse(f"belongs to other weights (weights_sha256 {str(metrics.get('weights_sha256'))[:12]}…)")
    for name in ("dataset", "split"):
        if not isinstance(metrics.get(name), str):
            refuse(f"has {metrics.get(name)!r:.100} for {name}")
    _check_figures(metrics["localisation"], refuse)
    return Evaluation(**{name: metrics[name] for name in Evaluation.__annotations__})  # type: ignore[typeddict-item]


def _check_figures(found: dict[str, Any], refuse: Callable[[str], NoReturn]) -> None:
    """Refuse an evaluation unless all that the card shows of it is there and in range."""
    for name in ("images", "pairs", "tolerance"):
        if not is_number(found.get(name)) or found[name] < 0:
            refuse(f"has {found.get(name)!r:.100} for localisation.{name}")
    methods = found.get("methods")
    if not isinstance(methods, dict) or not methods or not methods.keys() <= METHODS.keys():
        refuse("has other methods of localisation")
    for name, method in methods.items():
        overall = method.get("overall") if isinstance(method, dict) else None
        values: list[Any] = [overall.get(figure) if isinstance(overall, dict) else None for figure in FIGURES]
        if not all(is_number(value) and 0 <= value <= 1 for value in values):
            refuse(f"has {values!r:.200} for {name}, not numbers in [0, 1]")
