"""`python scripts/embed_labels.py ...`: the same as `sct-hf embed ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("embed", *sys.argv[1:]))
