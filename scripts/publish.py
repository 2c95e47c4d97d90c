"""`python scripts/publish.py ...`: the same as `sct-hf publish ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("publish", *sys.argv[1:]))
