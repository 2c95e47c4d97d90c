"""The trained checkpoint that lies in a clone of the project."""

from pathlib import Path

import sct_hf
from sct_hf.errors import InputError

NAME = "sct-efficientnet-lite0-voc2007"
"""Name of the checkpoint: its folder in `model_cards/`."""


def own_checkpoint() -> Path:
    """Find the checkpoint that scripts take where no model is named.

    Returns:
        Its folder.

    Raises:
        InputError: It is not there, since the package was installed without the rest of the project, say.
    """
    folder = Path(sct_hf.__path__[0]).parent / "model_cards" / NAME
    if not (folder / "config.json").is_file():
        raise InputError(
            f"model: none is given, and there is no {str(folder)!r}, which comes with a clone of the project. Give "
            "--model the folder of a checkpoint or its name on the Hub, or train one: accelerate launch "
            "scripts/train.py --output_dir outputs/mine"
        )
    return folder
