"""`python scripts/suggest.py ...`: the same as `sct-hf suggest ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("suggest", *sys.argv[1:]))
