"""Read the records of training, and check the type of each field before a card shows it."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn, TypedDict, get_type_hints

from huggingface_hub.dataclasses import type_validator

from sct_hf.errors import InputError
from sct_hf.network import failure_reason
from sct_hf.training.report import RunFacts
from sct_hf.training.run_files import RunFile


class RunRecord(TypedDict):
    """The published fields of training_args.json."""

    finished: bool
    arguments: dict[str, Any]
    command: list[str]
    versions: dict[str, str]


class CardArguments(TypedDict):
    """The arguments that a card describes in words; it lists the others unchanged."""

    backbone: str
    backbone_weights: str
    init_checkpoint: str | None
    train_split: str
    epochs: int
    seed: int
    image_size: list[int]


class Machine(TypedDict):
    """The machine of a run, as the card shows it."""

    device: str
    processes: int


def refuse(folder: Path, reason: str, remedy: str) -> NoReturn:
    """Raise `InputError` about a folder that cannot be published."""
    raise InputError(f"folder is {str(folder)!r}, which cannot be published: {reason}; {remedy}")


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON object from a file of a folder.

    Raises:
        InputError: The file cannot be read, is nested too deeply, or is not an object.
    """
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        refuse(folder, f"{name} cannot be read ({failure_reason(error)})", "train again")
    if not isinstance(content, dict):
        refuse(folder, f"{name} holds {type(content).__name__}, no object", "train again")
    return content


def read_record(folder: Path) -> dict[str, Any]:
    """Read training_args.json.

    Raises:
        InputError: The file cannot be read, the run is not finished, or a field is missing or has another type.
    """
    record = read_object(folder, RunFile.ARGUMENTS)
    if record.get("finished") is not True:
        refuse(folder, "its run is not finished", "continue it with --resume")
    _check_types(folder, RunFile.ARGUMENTS, RunRecord, record)
    _check_types(folder, f"{RunFile.ARGUMENTS}, arguments", CardArguments, record["arguments"])
    return record


def check_facts(folder: Path, metrics: dict[str, Any]) -> None:
    """Check types and ranges of the fields of metrics.json besides computed figures.

    Raises:
        InputError: A field is missing, has another type or is out of range.
    """
    _check_types(folder, RunFile.METRICS, RunFacts, metrics)
    _check_types(folder, f"{RunFile.METRICS}, machine", Machine, metrics["machine"])
    for name, least, most in (("holdout_mAP", 0, 1), ("train_images", 1, math.inf), ("train_seconds", 0, math.inf)):
        value = metrics[name]
        if not (name == "holdout_mAP" and value is None) and not (is_number(value) and least <= value <= most):
            refuse(
                folder, f"{RunFile.METRICS}: {name} is {value!r:.100}, no number from {least} to {most}", "train again"
            )
    limits = metrics.get("frequency_limits", (0, 1))
    if not (len(limits) == 2 and 0 <= limits[0] < limits[1] < 2**63):
        refuse(folder, f"{RunFile.METRICS}: frequency_limits is {limits!r:.100}, no two rising numbers", "train again")
    if "zero_shot" in metrics:
        _check_zero_shot(folder, metrics["zero_shot"])


def is_number(value: Any) -> bool:
    """Whether a value is a number within the range of a float, and not a boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e308


def _check_types(folder: Path, name: str, schema: type, content: dict[str, Any]) -> None:
    """Refuse fields that are missing or have another type than in a TypedDict; further fields are allowed."""
    if missing := sorted(schema.__required_keys__ - content.keys()):  # type: ignore[attr-defined]
        refuse(folder, f"{name} lacks {', '.join(missing)}", "train again")
    for field, kind in get_type_hints(schema).items():
        try:
            type_validator(field, content.get(field), kind if field in content else Any)
        except TypeError:
            wanted = kind.__name__ if isinstance(kind, type) else kind
            refuse(folder, f"{name}: {field} is {content[field]!r:.100}, not of type {wanted}", "train again")


def _check_zero_shot(folder: Path, figures: dict[str, Any]) -> None:
    shown = [f"{kind}_{figure}" for kind in ("ZSL", "GZSL") for figure in ("mAP", "chance_mAP", "F1@3", "F1@5")]
    by_label = figures.get("ZSL_AP")
    if not isinstance(by_label, dict) or not by_label:
        refuse(folder, f"{RunFile.METRICS}: zero_shot.ZSL_AP is {by_label!r:.100}, no figures by label", "train again")
    named = {name: figures.get(name, math.nan) for name in shown} | by_label
    for name, value in named.items():
        if value is not None and not (is_number(value) and 0 <= value <= 1):
            reason = f"{RunFile.METRICS}: zero_shot has {value!r:.100} for {name!r:.100}, no number in [0, 1]"
            refuse(folder, reason, "train again")
