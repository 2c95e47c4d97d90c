"""Train SCT: `accelerate launch scripts/train.py [--recipe NAME] [--option value ...]`, see --help."""

import sys

from transformers.utils import logging

from sct_hf.errors import InputError
from sct_hf.training.loop import train
from sct_hf.training.parsing import parse


def main() -> int:
    """Train, and return the exit code: 0, or 2 for input that cannot be used."""
    logging.disable_progress_bar()
    try:
        train(parse())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
