"""Score a checkpoint: `accelerate launch scripts/evaluate.py --model FOLDER --dataset NAME ...`, see --help."""

import sys

from transformers.utils import logging

from sct_hf.errors import InputError
from sct_hf.training.arguments import EvaluationDataArguments, ScoringArguments
from sct_hf.training.parsing import parse_into
from sct_hf.training.scoring import score_checkpoint


def main() -> int:
    """Score the checkpoint, and return the exit code: 0, or 2 for input that cannot be used."""
    logging.disable_progress_bar()
    try:
        score_checkpoint(*parse_into(None, ScoringArguments, EvaluationDataArguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
