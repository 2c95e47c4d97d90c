"""`python -m sct_hf COMMAND`: the same as `sct-hf COMMAND`."""

import sys

from sct_hf_cli import main

if __name__ == "__main__":
    sys.exit(main())
