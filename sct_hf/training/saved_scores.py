"""Scores in the folder of a run or an evaluation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sct_hf.errors import InputError
from sct_hf.training.report import Predictions
from sct_hf.training.run_files import RunFile

_SCORE, _TARGET = "score/", "target/"


def read_wide(path: Path) -> pd.DataFrame:
    """Read a parquet file with a few columns for each label.

    One thread reads it: for 40,000 columns, those of Arrow take many gigabytes.
    """
    return pd.read_parquet(path, use_threads=False)


def read_predictions(folder: Path) -> Predictions:
    """Read predictions.parquet of a folder, as `write_scores` wrote it.

    Raises:
        InputError: The folder has no such file, or it is damaged; the message names the folder.
    """
    path = folder / RunFile.PREDICTIONS
    remedy = "give the output folder of sct-hf train or sct-hf evaluate"
    if not path.is_file():
        raise InputError(f"{str(folder)!r} has no {RunFile.PREDICTIONS}: {remedy}")
    try:
        table: Any = read_wide(path)
        names = [name.removeprefix(_SCORE) for name in table if name.startswith(_SCORE)]
        scores, targets = (table[[f"{kind}{name}" for name in names]].to_numpy() for kind in (_SCORE, _TARGET))
        ids = table["image_id"].astype(str).tolist()
        contents = table["content"].tolist() if "content" in table else None
        calibration = json.loads(table.attrs.get("calibration", "null"))
        usable = names and len(ids) and len(set(ids)) == len(ids) and np.isfinite(scores).all()
    except Exception as error:  # a damaged file makes pyarrow raise almost anything
        raise InputError(f"{path} cannot be read ({str(error)[:200]}): evaluate again") from error
    if not usable:
        raise InputError(f"{path} does not hold one score of each image and label: evaluate again")
    return Predictions(ids, scores, targets, names, contents=contents, calibration=calibration)
