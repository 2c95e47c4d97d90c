"""A tiny data set and a tiny run on it, a second each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sct_hf.training.arguments import Arguments
from sct_hf.training.parsing import parse

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 230), "white": (240, 240, 240)}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Models as small as these only lose by sharing their work."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.jsonl (30 pictures) and test.jsonl (11): coloured blocks on noise, one label a colour."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 11)):
        rows = []
        for number in range(count):
            pixels = rng.integers(0, 90, (40, 40, 3), dtype=np.uint8)
            labels = [name for name in COLOURS if rng.random() < 0.4]
            for place, name in enumerate(labels):
                pixels[10 * place : 10 * place + 9, 5:35] = COLOURS[name]
            Image.fromarray(pixels).save(folder / f"{split}-{number}.png")
            rows.append(json.dumps({"image": f"{split}-{number}.png", "labels": labels}))
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def words(table: Path) -> Callable[..., list[str]]:
    """Command line of a tiny run; keyword arguments replace or add options."""

    def make(**options: Any) -> list[str]:
        defaults: dict[str, Any] = {
            **{"dataset": "jsonl", "data_dir": table, "train_split": "train", "eval_split": "test", "num_workers": 0},
            **{"backbone": "test_resnet", "backbone_weights": "none", "image_size": 32, "label_encoder": "random:8"},
            **{"hidden_size": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "holdout": 0.2},
            **{"epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "ema_decay": 0.9, "report_to": "none"},
            "cpu_threads": 1,
        }
        return [f"--{name}={value}" for name, value in (defaults | options).items()]

    return make


@pytest.fixture(scope="session")
def tiny(words: Callable[..., list[str]]) -> Callable[..., Arguments]:
    """Arguments of a tiny run."""
    return lambda **options: parse(words(**options))
