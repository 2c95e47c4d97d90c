"""`python scripts/export.py ...`: the same as `sct-hf export ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("export", *sys.argv[1:]))
