"""`python scripts/benchmark.py ...`: the same as `sct-hf benchmark ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("benchmark", *sys.argv[1:]))
