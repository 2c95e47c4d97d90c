"""`accelerate launch -m sct_hf.cli train`: a command in several processes."""

import sys

from sct_hf_cli import main

if __name__ == "__main__":
    sys.exit(main())
