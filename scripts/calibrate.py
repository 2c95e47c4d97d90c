"""`accelerate launch scripts/calibrate.py ...`: the same as `sct-hf calibrate ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("calibrate", *sys.argv[1:]))
