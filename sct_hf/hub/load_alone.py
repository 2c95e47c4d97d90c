"""Load a published folder with its own code, as others do: `python -P load_alone.py FOLDER IMAGE OUTPUT`.

It runs in a separate process that cannot import `sct_hf`. OUTPUT is a safetensors file with the `scores` (C,)
of the image.
"""

import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification, pipeline


def main(folder: str, image: str, output: str) -> None:
    """Load everything, score the image, and write the scores."""
    sys.modules["sct_hf"] = None  # type: ignore[assignment]
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    if "AutoModel" in config.auto_map:
        AutoModel.from_pretrained(folder, trust_remote_code=True)
    AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)
    AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
    pipeline("image-classification", model=folder, trust_remote_code=True)(image)
    (task,) = config.custom_pipelines
    tags = pipeline(task, model=folder, trust_remote_code=True)(image, threshold=0.0)
    score_of = {tag["label"]: tag["score"] for tag in tags}
    scores = [score_of[config.id2label[label]] for label in range(len(score_of))]
    save_file({"scores": torch.tensor(scores)}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
