"""Labels and thresholds of a tiny checkpoint, and the script that exports it."""

from pathlib import Path

LABELS = ["dog", "cat", "dining table"]
THRESHOLDS = [0.3, 0.55, 0.5]
SCRIPT = Path(__file__).parents[2] / "scripts" / "export.py"
