"""Tag images with the ONNX file in this folder: `python run_onnx.py image.jpg ... [--graph model_int8.onnx]`.

`--profile NAME` uses other thresholds of export.json.

Needs onnxruntime, numpy and pillow; neither torch nor transformers. Exit code: 0 for success; 1 if some images could
not be read.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

FOLDER = Path(__file__).resolve().parent
EXPORT = json.loads((FOLDER / "export.json").read_text(encoding="utf-8"))


def preprocess(path: str) -> np.ndarray:
    """Read an image as the model's input (1, 3, H, W) float32."""
    image: Image.Image = Image.open(path)
    image.load()
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # broken EXIF makes Pillow raise almost anything, and turns nothing
        orientation = None
    if image.mode.startswith("I"):  # 16 bits
        image = image.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA")  # straight to RGB, Pillow warns of transparency
    image = image.convert("RGB")
    image.info = {}
    image.getexif()[ExifTags.Base.Orientation] = orientation
    settings = EXPORT["preprocessing"]
    height, width = settings["size"]
    image = ImageOps.exif_transpose(image).resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32) / 255  # (H, W, 3)
    pixels = (pixels - np.float32(settings["mean"])) / np.float32(settings["std"])
    return pixels.transpose(2, 0, 1)[None]


def tags(scores: np.ndarray, profile: str | None = None) -> list[tuple[str, float]]:
    """Labels with a score at or above their threshold, by falling score, from scores (C,) float32."""
    if not np.isfinite(scores).all():
        raise ValueError("the scores are not numbers: the graph is broken, or overflows")
    limits = EXPORT["thresholds"] if profile is None else EXPORT["profiles"][profile]
    least = np.array([np.inf if limit is None else limit for limit in limits], dtype=np.float32)
    order = np.argsort(-scores, kind="stable")
    return [(EXPORT["labels"][label], float(scores[label])) for label in order if scores[label] >= least[label]]


def main(argv: list[str] | None = None) -> int:
    """Print one line per image, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--graph", default="model.onnx")
    parser.add_argument("--profile", choices=[*EXPORT["profiles"]], help="thresholds to use")
    arguments = parser.parse_args(argv)
    import onnxruntime  # here, so that clients of a server can import this file without it

    session = onnxruntime.InferenceSession(FOLDER / arguments.graph, providers=["CPUExecutionProvider"])
    code = 0
    for path in arguments.images:
        try:
            pixels = preprocess(path)
        except Exception as error:  # broken files make Pillow's decoders raise almost anything
            print(_shown(f"{path}: {error}"), file=sys.stderr)
            code = 1
            continue
        (scores,) = session.run(["scores"], {"pixel_values": pixels})[0]
        print(
            *map(_shown, [path, *(f"{label} {score:.4f}" for label, score in tags(scores, arguments.profile))]),
            sep="\t",
        )
    return code


def _shown(text: str) -> str:
    """Text without characters that a terminal obeys."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


if __name__ == "__main__":
    sys.exit(main())
