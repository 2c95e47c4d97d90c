"""The trained checkpoint that ships with the package."""

from pathlib import Path

NAME = "sct-efficientnet-lite0-voc2007"
"""Name of the checkpoint, and of its folder."""


def own_checkpoint() -> Path:
    """Find the default checkpoint.

    Returns:
        Its folder: in the installed package, or in the `model_cards/` of a clone.
    """
    package = Path(__file__).parent
    installed = package / "checkpoints" / NAME
    return installed if installed.is_dir() else package.parent / "model_cards" / NAME


def given_or_own(model: str | Path | None) -> str | Path:
    """The checkpoint that is given, or the default one for None. An empty name stays one, and is refused later."""
    return own_checkpoint() if model is None else model
