"""Build the page of a Space, without serving it: `python -P load_space.py APP`.

It runs in a separate process that cannot import `sct_hf`.
"""

import runpy
import sys
from pathlib import Path


def main(app: str) -> None:
    """Run the Space's app.py without serving it."""
    sys.modules["sct_hf"] = None  # type: ignore[assignment]
    sys.dont_write_bytecode = True  # what lies in the folder is published
    sys.path.insert(0, str(Path(app).parent))
    runpy.run_path(app)


if __name__ == "__main__":
    main(*sys.argv[1:])
