"""`python scripts/learning_curve.py ...`: the same as `sct-hf learning-curve ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("learning-curve", *sys.argv[1:]))
