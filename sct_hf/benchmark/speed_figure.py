"""The figure of a speed benchmark."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sct_hf.files import atomic_write
from sct_hf.training.plot_style import styled

BARS = {"model_forward_ratio": "inference", "model_step_ratio": "training step"}


def speed_figure(tables: Mapping[str, Sequence[Mapping[str, Any]]], path: str | Path) -> None:
    """Draw times of heads relative to the linear head, and of losses relative to conditional transport, as PNG.

    Args:
        tables: Rows by part, as `speed` returns them; "heads" and "transport" are drawn if present.
        path: The PNG to write.
    """
    panels = [*_head_panels(tables.get("heads", ())), *_transport_panels(tables.get("transport", ()))]
    if not panels:
        return
    with styled():
        figure = Figure(figsize=(5.2, 2.4 * len(panels)), layout="constrained")
        for place, (title, names, series, logarithmic) in enumerate(panels):
            axes = figure.add_subplot(len(panels), 1, place + 1)
            height = 0.8 / len(series)
            for number, (label, values) in enumerate(series.items()):
                bars = axes.barh(np.arange(len(names)) + number * height, values, height, label=label)
                axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
            axes.set_yticks(np.arange(len(names)) + 0.4 - height / 2, names)
            axes.invert_yaxis()
            axes.margins(x=0.15)
            if logarithmic:
                axes.set_xscale("log")
            axes.set_title(title)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=7)
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=120)


def _head_panels(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """One panel for each setting, under its last condition."""
    panels = []
    for setting in dict.fromkeys((row["backbone"], row["pixels"], row["labels"]) for row in rows):
        own = [row for row in rows if (row["backbone"], row["pixels"], row["labels"]) == setting]
        condition = tuple(own[-1][name] for name in ("device", "dtype", "mode", "batch_size"))
        own = [
            row for row in own if tuple(row[name] for name in ("device", "dtype", "mode", "batch_size")) == condition
        ]
        title = f"{setting[0]}, {setting[1]} px, {setting[2]} labels: time / linear head's"
        title += f"\n{condition[0]}, {condition[1]}, {condition[2]}, batch {condition[3]}"
        series = {label: [row[column] for row in own] for column, label in BARS.items()}
        panels.append((title, [row["head"] for row in own], series, False))
    return panels


def _transport_panels(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    if not rows:
        return []
    names = list(dict.fromkeys(row["loss"] for row in rows))
    series = {
        f"{count:,} labels": [row["forward_backward_ratio"] for row in rows if row["labels"] == count]
        for count in dict.fromkeys(row["labels"] for row in rows)
    }
    first = rows[0]
    title = f"transport loss, forward and backward: time / conditional transport's\n{first['device']}"
    return [(f"{title}, {first['regions']} regions, batch {first['batch_size']}", names, series, True)]
