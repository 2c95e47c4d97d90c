"""`python scripts/audit.py ...`: the same as `sct-hf audit ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("audit", *sys.argv[1:]))
