"""Tag images with the ONNX file beside this one: `python run_onnx.py image.jpg ... [--graph model_int8.onnx]`.

Needs onnxruntime, numpy and pillow; neither torch nor transformers.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FOLDER = Path(__file__).resolve().parent
EXPORT = json.loads((FOLDER / "export.json").read_text(encoding="utf-8"))


def preprocess(path: str) -> np.ndarray:
    """Read an image as the model's input (1, 3, H, W) float32."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):  # 16 bits
        image = image.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L")
    settings = EXPORT["preprocessing"]
    height, width = settings["size"]
    image = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32) / 255  # (H, W, 3)
    pixels = (pixels - np.float32(settings["mean"])) / np.float32(settings["std"])
    return pixels.transpose(2, 0, 1)[None]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--graph", default="model.onnx")
    arguments = parser.parse_args()
    session = onnxruntime.InferenceSession(FOLDER / arguments.graph, providers=["CPUExecutionProvider"])
    for path in arguments.images:
        logits = session.run(["logits"], {"pixel_values": preprocess(path)})[0][0]  # (C,)
        scores = 1 / (1 + np.exp(-logits))
        rows = sorted(zip(scores, EXPORT["labels"], EXPORT["thresholds"], strict=True), reverse=True)
        print(path, *(f"{label} {score:.4f}" for score, label, threshold in rows if score >= threshold), sep="\t")
