"""`python scripts/compare.py ...`: the same as `sct-hf compare ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("compare", *sys.argv[1:]))
