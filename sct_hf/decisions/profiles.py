"""What thresholds are for, by name."""

from typing import NamedTuple

from ..errors import InputError

DEFAULT_PROFILES = ("balanced", "precision=0.9", "recall=0.9", "fdr=0.1")
CONFIDENCE = 0.95
"""Confidence of the guarantees."""

_LEVELLED = {"precision": "least precision", "recall": "least recall", "fdr": "greatest share of false tags"}
_BALANCED = "balanced"


class Profile(NamedTuple):
    """A purpose of thresholds.

    Attributes:
        name: Such as "precision=0.9".
        kind: "balanced", "precision", "recall" or "fdr".
        level: What is guaranteed, in (0, 1); None for balanced.
    """

    name: str
    kind: str
    level: float | None = None


def parse_profile(text: str) -> Profile:
    """Read the name of a profile: "balanced", or "precision", "recall" or "fdr" with "=" and a number in (0, 1).

    Raises:
        InputError: The text has another form.
    """
    kind, equals, number = (part.strip() for part in text.partition("="))
    if kind == _BALANCED and not equals:
        return Profile(_BALANCED, _BALANCED)
    try:
        level = float(number) if kind in _LEVELLED else None
    except ValueError:
        level = None
    if level is None or not 0 < level < 1:
        levels = ", ".join(f"{name}=NUMBER ({meaning})" for name, meaning in _LEVELLED.items())
        raise InputError(f"profile is {text!r}: give {_BALANCED}, or one of {levels}, with a number between 0 and 1")
    return Profile(f"{kind}={level:g}", kind, level)
