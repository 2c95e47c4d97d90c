"""A tagging of many images that is killed at random moments: shards, a stand-in model, and what happened to memory.

`sct-hf predict` runs as a process of its own and is killed by SIGKILL; the same command then goes on.
"""

import io
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from sct_hf import build_model, encode_labels, image_processor

LABELS = [f"label {number}" for number in range(8)]
SCRIPT = Path(__file__).parents[2] / "scripts" / "predict.py"


def write_model(folder: Path) -> None:
    """A small model whose pass over a batch always costs the same."""
    torch.manual_seed(0)
    text = encode_labels(LABELS, "random:12")
    model = build_model("test_resnet", LABELS, image_size=32, label_vectors=text, hidden_size=32)
    model(torch.randn(8, 3, 32, 32))  # moves the running statistics off 0 and 1
    model.save_pretrained(folder)
    image_processor(model.config).save_pretrained(folder)


def jpegs(count: int) -> list[bytes]:
    """JPEGs of smooth noise, all different."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((48, 40), Image.Resampling.BICUBIC).save(buffer := io.BytesIO(), "JPEG")
        found.append(buffer.getvalue())
    return found


def write_shards(folder: Path, content: list[bytes], images: int, rows: int) -> None:
    """Shards of `rows` images: the JPEGs over and over, `key` the number of each image."""
    folder.mkdir()
    for shard, start in enumerate(range(0, images, rows)):
        keys = range(start, min(start + rows, images))
        table = pa.table({"key": keys, "image": [content[key % len(content)] for key in keys]})
        pq.write_table(table, folder / f"{shard:05d}.parquet", row_group_size=1000)


@dataclass
class Campaign:
    """What happened.

    Attributes:
        memory: (images done, bytes of resident memory) of the running process, twice a second.
        kills: Images done at each kill.
        seconds: From the first start to the end.
    """

    memory: list[tuple[int, int]] = field(default_factory=list)
    kills: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def peak(self, low: float, high: float) -> int:
        """Most memory between two shares of the images."""
        most = max(done for done, _ in self.memory)
        return max(size for done, size in self.memory if low * most <= done <= high * most)


def run(words: list[str], output: Path, images: int, kills: int, log: Path, seed: int = 0) -> Campaign:
    """Run the command, kill it `kills` times at random moments, and let it end.

    A moment is drawn as a number of images, evenly over what a life may tag, and a pause of up to two seconds.
    """
    random_moment = random.Random(seed)
    targets = sorted(random_moment.sample(range(images), kills))
    campaign, started = Campaign(), time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}
    with log.open("a") as stream:
        while True:
            process = subprocess.Popen(
                [sys.executable, str(SCRIPT), *words], stdout=stream, stderr=stream, env=environment
            )
            watched = psutil.Process(process.pid)
            while process.poll() is None:
                done = _rows(output)
                try:
                    campaign.memory.append((done, watched.memory_info().rss))
                except psutil.Error:
                    break
                if targets and done >= targets[0]:
                    time.sleep(random_moment.uniform(0, 2))
                    process.kill()
                    campaign.kills.append(_rows(output))
                    targets.pop(0)
                time.sleep(0.5)
            code = process.wait()
            if code >= 0:
                break
    assert code == 0, log.read_text()[-2000:]
    campaign.memory.append((_rows(output), 0))
    campaign.seconds = time.monotonic() - started
    return campaign


_COUNTS: dict[tuple[str, int], int] = {}


def _rows(output: Path) -> int:
    total = 0
    for part in output.glob("part-*.parquet"):
        key = (part.name, part.stat().st_mtime_ns)
        if key not in _COUNTS:
            _COUNTS[key] = pq.read_metadata(part).num_rows
        total += _COUNTS[key]
    return total
