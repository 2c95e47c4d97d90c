"""The options of what training adds to the model's loss: each registered objective brings its own."""

from typing import Any

OBJECTIVES: dict[str, Any] = {}
"""Objectives by name; `Options` of each is a dataclass made with `sct_hf.options.option`."""


def objective_options() -> dict[str, type]:
    """The options of every registered objective, by the objective's name."""
    return {name: objective.Options for name, objective in OBJECTIVES.items()}
