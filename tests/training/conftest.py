"""A tiny run on a tiny data set, a second long."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sct_hf.training.arguments import Arguments
from sct_hf.training.parsing import parse
from tests.words import command_words, with_defaults


@pytest.fixture(scope="session")
def words(table: Path) -> Callable[..., list[str]]:
    """Command line of a tiny run, without figures: they take longer than all else. Keyword arguments are options."""

    def make(**options: Any) -> list[str]:
        defaults: dict[str, Any] = {
            **{"dataset": "jsonl", "data_dir": table, "train_split": "train", "eval_split": "test", "num_workers": 0},
            **{"backbone": "test_resnet", "backbone_weights": "none", "image_size": 32, "label_encoder": "random:8"},
            **{"hidden_size": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "holdout": 0.2},
            **{"epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "ema_decay": 0.9, "report_to": "none"},
            **{"cpu_threads": 1, "allow_unlabelled": True, "figures": False},
        }
        return command_words(with_defaults(options, defaults))

    return make


@pytest.fixture(scope="session")
def tiny(words: Callable[..., list[str]]) -> Callable[..., Arguments]:
    """Arguments of a tiny run."""
    return lambda **options: parse(words(**options))
