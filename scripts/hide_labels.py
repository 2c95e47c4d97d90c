"""`python scripts/hide_labels.py ...`: the same as `sct-hf hide ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("hide", *sys.argv[1:]))
