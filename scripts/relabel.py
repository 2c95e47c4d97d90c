"""`python scripts/relabel.py ...`: the same as `sct-hf relabel ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("relabel", *sys.argv[1:]))
