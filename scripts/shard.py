"""`python scripts/shard.py ...`: the same as `sct-hf shard ...`."""

import sys

from sct_hf_cli import run

if __name__ == "__main__":
    sys.exit(run("shard", *sys.argv[1:]))
