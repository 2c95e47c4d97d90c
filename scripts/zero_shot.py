"""`python scripts/zero_shot.py ...`: the same as `sct-hf zero-shot ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("zero-shot", *sys.argv[1:]))
