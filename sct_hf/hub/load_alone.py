"""Load a published folder with its own code, as others do: `python -P load_alone.py FOLDER IMAGE OUTPUT`.

It runs in a separate process that cannot import `sct_hf`. OUTPUT is a safetensors file with the `scores` (C,)
of the image.
"""

import sys

import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification, pipeline


def main(folder: str, image: str, output: str) -> None:
    """Load everything, score the image, and write the scores."""
    sys.modules["sct_hf"] = None  # type: ignore[assignment]
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    if "AutoModel" in config.auto_map:
        AutoModel.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True).eval()
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
    with torch.inference_mode(), Image.open(image) as file:
        pixels = processor(images=file, return_tensors="pt")["pixel_values"]
        scores = model(pixels.to(model.dtype)).logits.float().sigmoid()[0]
    for task in ("image-classification", *getattr(config, "custom_pipelines", {})):
        pipeline(task, model=folder, trust_remote_code=True)(image)
    save_file({"scores": scores}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
