"""What a card says of calibration and thresholds: the record of their fit."""

from pathlib import Path
from typing import Any

from sct_hf.errors import InputError
from sct_hf.hub.records import is_number, read_object, refuse
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.training.run_files import RunFile

_REMEDY = "fit again by sct-hf calibrate"
_CURVE = ("score", "positive", "pairs")


def read_decisions(folder: Path, config: BackboneConfig) -> dict[str, Any] | None:
    """Read decisions.json and check all that the card shows of it.

    Args:
        folder: The trained folder.
        config: Its configuration, whose thresholds must be those of the record.

    Returns:
        The record without `contents`, the digests of images; None if the folder has none.

    Raises:
        InputError: It cannot be read, lacks something, or belongs to other thresholds.
    """
    if not (folder / RunFile.DECISIONS).is_file():
        return None
    record = read_object(folder, RunFile.DECISIONS)
    record.pop("contents", None)
    try:
        thresholds = {
            name: [profile["labels"][label]["threshold"] for label in config.label_names]
            for name, profile in record["profiles"].items()
        }
        figures = [record["calibration"][when] for when in ("before", "after")]
        shown = [figure[key] for figure in figures for key in ("ECE", "ECE_mean", "Brier")]
        shown += [value for figure in figures for key in _CURVE for value in figure["curve"][key]]
        complete = (
            all(map(is_number, [record["images"], record.get("folds", 0), *shown]))
            and all(len({len(figure["curve"][key]) for key in _CURVE}) == 1 for figure in figures)
            and all(isinstance(record[key], str) for key in ("dataset", "split"))
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"folder is {str(folder)!r}, which cannot be published: {RunFile.DECISIONS} lacks {error}; {_REMEDY}"
        ) from error
    if not complete:
        refuse(folder, f"{RunFile.DECISIONS} is no record of a fit", _REMEDY)
    if thresholds != config.thresholds:
        refuse(folder, f"{RunFile.DECISIONS} has other thresholds than {RunFile.CONFIG}", _REMEDY)
    return record
