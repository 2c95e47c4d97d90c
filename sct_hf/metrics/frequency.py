"""mAP of rare, common and frequent labels separately."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError

GROUPS = ("rare", "common", "frequent")
LVIS, THIRDS = "lvis", "thirds"
_LVIS_LIMITS = (10, 100)


def frequency_limits(text: str, positives: np.ndarray) -> tuple[int, int]:
    """Read the limits of the groups: the most training positives of a rare and of a common label.

    Args:
        text: "lvis" (10 and 100 as in LVIS; Gupta et al., CVPR 2019), "RARE,COMMON", or "thirds": the counts that
            split the labels into three equal groups.
        positives: Training positives (C,) of each label, for thirds.

    Raises:
        InputError: The text has another form, or its second number is not above the first.
    """
    if text == THIRDS:
        ranked = np.sort(positives)
        rare, common = (int(ranked[max(round(len(ranked) * share) - 1, 0)]) for share in (1 / 3, 2 / 3))
        return rare, common
    try:
        rare, common = _LVIS_LIMITS if text == LVIS else map(int, text.split(","))
    except ValueError:
        rare = common = -1
    if not 0 <= rare < common:
        raise InputError(
            f"frequency_groups is {text!r}: give {LVIS}, {THIRDS}, or the most positives of a rare and of a common "
            "label, such as 10,100"
        )
    return rare, common


def frequency_groups(positives: np.ndarray, limits: tuple[int, int]) -> list[str]:
    """The name in `GROUPS` of each label, by its training positives (C,). A label without any is rare."""
    return [GROUPS[place] for place in np.searchsorted(limits, positives, side="left")]


def group_metrics(
    average_precisions: Mapping[str, float | None], label_names: Sequence[str], groups: Sequence[str]
) -> dict[str, Any]:
    """Mean AP by group.

    Args:
        average_precisions: AP by label; None for labels without a positive, which are ignored.
        label_names: The C labels.
        groups: Group of each label.

    Returns:
        For each group `mAP_<group>`, None if no label of it has an AP, and `labels_<group>`, the number with an AP.
    """
    result: dict[str, Any] = {}
    for group in GROUPS:
        of_labels = [average_precisions[name] for name, own in zip(label_names, groups, strict=True) if own == group]
        values = [value for value in of_labels if value is not None]
        result |= {f"mAP_{group}": float(np.mean(values)) if values else None, f"labels_{group}": len(values)}
    return result
