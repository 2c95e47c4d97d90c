"""`accelerate launch scripts/train.py ...`: the same as `sct-hf train ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("train", *sys.argv[1:]))
