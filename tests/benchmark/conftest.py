"""Tiny benchmarks on a tiny data set, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sct_hf.benchmark.ablation import AblationArguments, ablation
from sct_hf.benchmark.accuracy import AccuracyArguments, accuracy
from sct_hf.benchmark.contenders import CONTENDERS, Contender
from sct_hf.benchmark.partial import PartialArguments, partial
from sct_hf.training.parsing import options_on_command_line, parse_with_training
from tests.words import command_words

Benchmark = Callable[..., int]
COMMANDS: dict[str, tuple[type, Benchmark]] = {
    "accuracy": (AccuracyArguments, accuracy),
    "ablation": (AblationArguments, ablation),
    "partial": (PartialArguments, partial),
}


@pytest.fixture(autouse=True)
def _tiny_contenders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them, each with two settings."""
    small = {"hidden_size": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "encoder_layers": 0}
    monkeypatch.setitem(CONTENDERS, "sct", Contender("SCT", {"head": "sct", **small}, {"learning_rate": (1e-4, 1e-2)}))
    linear = Contender("linear, ASL", {"head": "linear"}, {"learning_rate": (1e-4, 1e-1)})
    monkeypatch.setitem(CONTENDERS, "linear", linear)


@pytest.fixture
def run_benchmark(table: Path, tmp_path: Path) -> Benchmark:
    """Run "accuracy", "ablation" or "partial" with these options; a list is several words."""

    def run(command: str, **options: Any) -> int:
        defaults: dict[str, Any] = {
            **{"dataset": "jsonl", "data_dir": table, "train_split": "train", "eval_split": "test", "num_workers": 0},
            **{"backbone": "test_resnet", "backbone_weights": "none", "image_size": 32, "label_encoder": "random:8"},
            **{"cache_dir": tmp_path / "cache", "ema_decay": 0.5, "holdout": 0.3, "cpu_threads": 1, "jobs": 0},
            **{"train_sizes": ["all:2:4"], "allow_unlabelled": True},
        }
        kind, function = COMMANDS[command]
        values = parse_with_training(command_words(defaults | options, kind), kind, default="benchmark_frozen")
        return function(*values, on_command_line=options_on_command_line(command_words(options, kind)))

    return run
