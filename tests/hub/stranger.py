"""Someone without the package: `python -S -P stranger.py JOB OUTPUT`, a process of `test_publish.py`.

JOB holds the names that `test_publish.py` gives; OUTPUT receives what came of each part.
"""

import importlib.util
import json
import os
import resource
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification, pipeline

ENDPOINT = os.environ["HF_ENDPOINT"]


def load(repo: str, **options: Any) -> Any:
    return AutoModelForImageClassification.from_pretrained(repo, trust_remote_code=True, **options)


def scores(model: Any, processor: Any, image: str) -> list[float]:
    with torch.inference_mode(), Image.open(image) as file:
        return model(**processor(file, return_tensors="pt")).logits.sigmoid()[0].tolist()


def problem(repo: str, **options: Any) -> str:
    try:
        load(repo, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def downloaded(folder: Path) -> list[str]:
    """Files of a cache that a later load would take for whole."""
    return sorted(path.name for path in folder.glob("models--*/snapshots/*/*"))


def main(job: dict[str, Any]) -> dict[str, Any]:
    repo, image, work = job["repo"], job["image"], Path(job["work"])
    found: dict[str, Any] = {"package": importlib.util.find_spec("sct_hf") is not None}
    config = AutoConfig.from_pretrained(repo, trust_remote_code=True)
    base = AutoModel.from_pretrained(repo, trust_remote_code=True)
    model = load(repo)
    processor = AutoImageProcessor.from_pretrained(repo, trust_remote_code=True)
    found["classes"] = [type(item).__name__ for item in (config, base, model)]
    found["modules"] = sorted({type(item).__module__.split(".")[0] for item in (config, base, model)})
    found["scores"] = scores(model, processor, image)
    tagger = pipeline(model=repo, trust_remote_code=True)
    standard = pipeline("image-classification", model=repo, trust_remote_code=True)
    found["task"] = tagger.task
    every = {} if tagger.task == "image-classification" else {"threshold": 0}  # the model's own pipeline leaves out
    found["pipeline"] = tagger(image, top_k=4, **every)
    found["standard pipeline"] = standard(image, top_k=4)

    found["main"] = problem(job["moved"])
    found["pinned"] = scores(load(job["moved"], revision=job["commit"]), processor, image)
    found["request"] = scores(load(job["requested"], revision="refs/pr/1"), processor, image)

    found["hidden"] = problem(job["private"], token="hf_reader")
    found["wrong token"] = problem(job["private"], token="hf_wrong")
    found["shown"] = problem(job["private"])
    found["missing"] = problem("me/absent")
    found["no revision"] = problem(repo, revision="absent")

    sleep, time.sleep = time.sleep, lambda seconds: None  # between attempts
    cut = work / "cut"
    found["cut"] = problem(job["cut"], cache_dir=cut)
    found["after cut"] = downloaded(cut)
    time.sleep = sleep
    urllib.request.urlopen(f"{ENDPOINT}/mend").close()
    found["mended"] = scores(load(job["cut"], cache_dir=cut), processor, image)

    full = work / "full"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    found["full"] = problem(repo, cache_dir=full)
    found["after full"] = downloaded(full)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    found["emptied"] = scores(load(repo, cache_dir=full), processor, image)
    return found


if __name__ == "__main__":
    job_file, output = map(Path, sys.argv[1:])
    output.write_text(json.dumps(main(json.loads(job_file.read_text()))))
