"""Labels, calibration and thresholds of a tiny checkpoint, the script that exports it, and what a page runs on."""

from pathlib import Path

LABELS = ["dog", "cat", "dining table"]
THRESHOLDS = [0.3, 0.55, 0.5]
PROFILES = {"balanced": THRESHOLDS, "strict": [0.5, None, 0.55]}
CALIBRATION = {"slope": [1.5, 1.5, 1.5], "shift": [0.25, 0.25, 0.25]}
SCRIPT = Path(__file__).parents[2] / "scripts" / "export.py"
RUNTIME_FILES = {"ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"}
