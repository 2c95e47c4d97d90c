"""`python scripts/check_data.py ...`: the same as `sct-hf check ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("check", *sys.argv[1:]))
