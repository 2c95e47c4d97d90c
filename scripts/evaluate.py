"""`accelerate launch scripts/evaluate.py ...`: the same as `sct-hf evaluate ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("evaluate", *sys.argv[1:]))
