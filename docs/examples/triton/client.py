"""Tag images with a Triton server: `python client.py outputs/export photo.jpg … [--url localhost:8000]`.

The export's own run_onnx.py prepares images and chooses tags. Needs tritonclient[http], numpy and pillow.
"""

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

import tritonclient.http
from tritonclient.utils import InferenceServerException


def load_example(export: Path) -> Any:
    """Import run_onnx.py of an export, which reads the export.json beside it."""
    spec = importlib.util.spec_from_file_location("run_onnx", export / "run_onnx.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Print one line per image, and return the exit code: 1 if some have no tags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path, help="folder of sct-hf export")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--url", default="localhost:8000")
    parser.add_argument("--name", default="sct", help="name of the model on the server")
    arguments = parser.parse_args()
    example = load_example(arguments.export)
    client = tritonclient.http.InferenceServerClient(arguments.url)
    wanted = [tritonclient.http.InferRequestedOutput("scores")]
    code = 0
    for path in arguments.images:
        try:
            pixels = example.preprocess(path)  # (1, 3, H, W) float32
            given = tritonclient.http.InferInput("pixel_values", list(pixels.shape), "FP32")
            given.set_data_from_numpy(pixels)
            (scores,) = client.infer(arguments.name, [given], outputs=wanted).as_numpy("scores")  # (C,)
        except (OSError, InferenceServerException) as error:
            print(f"{path}: {error}", file=sys.stderr)
            code = 1
            continue
        print(path, *(f"{label} {score:.4f}" for label, score in example.tags(scores)), sep="\t")
    return code


if __name__ == "__main__":
    sys.exit(main())
