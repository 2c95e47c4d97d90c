"""Arguments of the asymmetric loss that balance labels, from the training targets or a file."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sct_hf.data.label_counts import LabelCounts
from sct_hf.errors import InputError
from sct_hf.escaping import from_csv_cell
from sct_hf.options import CheckedOptions, option

AUTO, ROOT = "auto", "sqrt"
_GROUP = "what is learnt from labels"


@dataclass
class BalanceOptions(CheckedOptions):
    """Options that balance rare and frequent labels in the loss."""

    positive_weights: str | None = option(
        None,
        "Weight of each label's positives in the loss: auto, sqrt, or a CSV file with columns label and weight.",
        group=_GROUP,
        file=True,
        unset="1 for all",
    )
    label_gammas: str | None = option(
        None,
        "Focusing exponents of each label: auto, or a CSV file with columns label and gamma_neg or gamma_pos.",
        group=_GROUP,
        file=True,
        unset="the same for all",
    )
    logit_adjustment: float | None = option(
        None,
        "Add each label's log-odds in training, times this factor, to the logits of the loss.",
        group=_GROUP,
        within=">= 0",
        unset="off",
    )


def label_focus(
    options: BalanceOptions, counts: LabelCounts, label_names: Sequence[str], focus: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Compute arguments of `asymmetric_loss` for each label.

    - `positive_weights`: `auto` weighs a label's positives by negatives / positives, as the documentation of PyTorch's
      BCEWithLogitsLoss proposes; `sqrt` takes the square root. A file has the column `weight`; labels missing from it
      get 1.
    - `logit_adjustment`, τ: adds τ times the label's log-odds to the training logits. Menon et al. (ICLR 2021) add
      τ · log prior to the logits of a softmax over classes. A sigmoid with the label's own log-odds is this project's.
      Scores leave it out: at τ = 1 they are those of a label as often present as absent.
    - `label_gammas`: `auto` divides γ₋ of the configuration in proportion to the labels' log-odds. Rarer labels focus
      more, the mean over labels stays, and a label present more often than absent gets 0. A file has the column
      `gamma_neg` or `gamma_pos`, or both; labels missing from it keep the configuration's.

    Args:
        options: Options of the run.
        counts: Counts of its training targets.
        label_names: The C labels.
        focus: Arguments of `asymmetric_loss` for all labels, with the exponents.

    Returns:
        (C,) float64 arrays by argument; empty if no option asks for any.

    Raises:
        InputError: A file is missing or cannot be used.
    """
    made: dict[str, np.ndarray] = {}
    if (choice := options.positive_weights) in (AUTO, ROOT):
        made["positive_weight"] = np.exp(-counts.log_odds() * (1 if choice == AUTO else 0.5))
    elif choice is not None:
        columns = _read("positive_weights", Path(choice), label_names, {"weight": 1.0})
        made["positive_weight"] = columns["weight"]
    if options.logit_adjustment:
        made["logit_shift"] = options.logit_adjustment * counts.log_odds()
    if options.label_gammas == AUTO:
        rarity, gamma = np.maximum(-counts.log_odds(), 0), focus["gamma_neg"]
        made["gamma_neg"] = gamma * (rarity / rarity.mean() if rarity.any() else np.ones_like(rarity))
    elif options.label_gammas is not None:
        defaults = {name: focus[name] for name in ("gamma_neg", "gamma_pos")}
        made |= _read("label_gammas", Path(options.label_gammas), label_names, defaults)
    return made


def _read(field: str, path: Path, label_names: Sequence[str], defaults: dict[str, float]) -> dict[str, np.ndarray]:
    """Columns (C,) of a CSV file with the column `label`, see `csv_cell`; only names in `defaults` are read."""
    wanted = " or ".join(defaults)
    try:
        table = pd.read_csv(path, dtype={"label": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{field} is {str(path)!r}, which cannot be read ({error}): give a CSV file") from error
    columns = [name for name in defaults if name in table.columns]
    if "label" not in table.columns or not columns:
        found = ", ".join(map(str, table.columns))
        raise InputError(f"{field} {path} has the columns {found}: it needs label, and {wanted}")
    values = {name: np.full(len(label_names), float(defaults[name])) for name in columns}
    places = {name: place for place, name in enumerate(label_names)}
    seen: set[str] = set()
    for line, row in enumerate(table.to_dict("records"), 2):
        label = from_csv_cell(str(row["label"]))
        where = f"{field} {path}, line {line}"
        if label not in places:
            near = difflib.get_close_matches(label, label_names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f": it is none of the {len(label_names)} labels"
            raise InputError(f"{where} has the label {label!r}{hint}")
        if label in seen:
            raise InputError(f"{where} has the label {label!r} again: give each label one line")
        seen.add(label)
        for name in columns:
            values[name][places[label]] = _number(row[name], f"{where}, {name}")
    return values


def _number(text: object, where: str) -> float:
    try:
        number = float(str(text))
    except ValueError:
        number = np.nan
    if not 0 <= number < np.inf:
        raise InputError(f"{where} is {text!r}: give a number >= 0")
    return number
