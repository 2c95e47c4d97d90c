"""`python scripts/predict.py ...`: the same as `sct-hf predict ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("predict", *sys.argv[1:]))
