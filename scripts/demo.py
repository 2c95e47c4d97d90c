"""`python scripts/demo.py ...`: the same as `sct-hf demo ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("demo", *sys.argv[1:]))
