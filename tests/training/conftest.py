"""A tiny run on a tiny data set, a second long."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data import ImageNetInfo

from sct_hf.label_text.class_words import TABLE
from sct_hf.label_text.word_vectors import tokens_of
from sct_hf.label_text.words import label_words
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


@pytest.fixture(scope="session")
def grounded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Options of a run on a file of backbone weights with a classifier, and cheap word vectors of all its classes."""
    folder = tmp_path_factory.mktemp("grounded")
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), folder / "whole.pth")
    nouns = (
        word for line in TABLE.read_text(encoding="utf-8").splitlines() for word in line.split("\t")[2].split("|")
    )
    texts = ("red", "green", "blue", "white", *ImageNetInfo("imagenet-1k").label_descriptions(), *filter(None, nouns))
    words = (label_words(name) for name in texts)
    whole = {token for name in words for token in tokens_of(name)}
    tokens = sorted({token[:length] for token in whole for length in range(1, len(token) + 1)})  # a long name is cut
    lines = [f"{token} {' '.join(f'{x:.3f}' for x in torch.randn(4).tolist())}" for token in tokens]
    (folder / "vectors.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"backbone_weights": str(folder / "whole.pth"), "label_encoder": f"glove:{folder / 'vectors.txt'}"}
