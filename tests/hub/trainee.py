"""Someone without the package who trains a published model further: `python -S -P trainee.py JOB OUTPUT`.

Two processes of `test_kept_code.py`: one trains and saves, the other loads what was saved. OUTPUT receives what they
found.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    Trainer,
    TrainingArguments,
    pipeline,
)

TASK = "multi-label-image-classification"


def code(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.py")}


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Take two steps from `source`, by a loop or by transformers' Trainer, and save to `folder` and to `repo`."""
    source, folder = job["source"], Path(job["folder"])
    model = AutoModelForImageClassification.from_pretrained(source, trust_remote_code=True)
    processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=True)
    before = model.pipeline(processor)(job["image"], threshold=0)
    with Image.open(job["image"]) as file:
        pixels = processor([file, file.rotate(90)], return_tensors="pt")["pixel_values"]
    labels = torch.eye(model.config.num_labels)[:2]
    if job["trainer"]:
        options = TrainingArguments(str(folder), max_steps=2, use_cpu=True, report_to=[], label_names=["labels"])
        rows = [{"pixel_values": row, "labels": target} for row, target in zip(pixels, labels, strict=True)]
        trainer = Trainer(model, options, train_dataset=rows, processing_class=processor)
        trainer.train()
        trainer.save_model()
    else:
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            model.train()(pixel_values=pixels, labels=labels).loss.backward()
            optimizer.step()
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    if job["repo"]:
        model.push_to_hub(job["repo"])
        processor.push_to_hub(job["repo"])
    return {
        "before": before,
        "tags": model.eval().pipeline(processor)(job["image"], threshold=0),
        "code": code(folder),
    }


def load(job: dict[str, Any]) -> dict[str, Any]:
    """What the pipelines say of each of `sources`."""
    found: dict[str, Any] = {}
    for source in job["sources"]:
        tagger = pipeline(model=source, trust_remote_code=True)
        named = pipeline(TASK, model=source, trust_remote_code=True)
        stock = pipeline("image-classification", model=source, trust_remote_code=True)
        found[source] = {
            "task": tagger.task,
            "tags": tagger(job["image"], threshold=0),
            "named": named(job["image"], threshold=0),
            "stock": stock(job["image"], top_k=4),
        }
    return found


if __name__ == "__main__":
    assert importlib.util.find_spec("sct_hf") is None
    job_file, output = map(Path, sys.argv[1:])
    job = json.loads(job_file.read_text())
    output.write_text(json.dumps({"train": train, "load": load}[job["part"]](job)))
