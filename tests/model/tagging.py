"""Tiny checkpoints to tag with, and what they should give, computed by the model directly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertModel, BertTokenizerFast

from sct_hf import SCTForMultiLabelClassification, build_model, encode_labels, image_processor

LABELS = ["dog", "cat", "diningtable", "boat", "sheep"]
TASK = "multi-label-image-classification"
TINY = {"hidden_size": 32, "encoder_ffn_dim": 48, "encoder_attention_heads": 4}


def save_text_encoder(folder: Path) -> Path:
    """Save a tiny text encoder."""
    torch.manual_seed(0)
    words = "[PAD] [UNK] [CLS] [SEP] a dog cat dining table boat sheep wild horse".split()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)
    BertTokenizerFast(vocab={word: index for index, word in enumerate(words)}).save_pretrained(folder)
    return folder


def save(folder: Path, scorer: str, encoder: str, **fields: Any) -> Path:
    """Save a checkpoint whose label text an encoder made."""
    torch.manual_seed(0)
    text = encode_labels(LABELS, encoder, template="{}" if "random" in encoder else "a {}")
    model = build_model("test_resnet", LABELS, image_size=64, label_vectors=text, scorer=scorer, **TINY, **fields)
    model(torch.randn(8, 3, 64, 64))  # moves the running statistics off 0 and 1
    model.save_pretrained(folder)
    image_processor(model.config).save_pretrained(folder)
    return folder


def direct(model: SCTForMultiLabelClassification, path: Path) -> np.ndarray:
    """Scores (C,) of an image file, with the resizing of PIL."""
    config = model.config
    pixels = np.asarray(Image.open(path).resize((64, 64), Image.Resampling.BILINEAR)) / 255
    values = torch.tensor((pixels - np.array(config.image_mean)) / np.array(config.image_std), dtype=torch.float32)
    with torch.no_grad():
        logits = model(values.permute(2, 0, 1)[None]).logits[0].double().numpy()
    return 1 / (1 + np.exp(-logits))


def expected(model: SCTForMultiLabelClassification, path: Path, top_k: int | None = None) -> dict[str, Any]:
    scores = direct(model, path)
    best = np.argsort(-scores)[:top_k]
    return {LABELS[label]: pytest.approx(scores[label], abs=5e-3) for label in best}


def named(tags: list[dict[str, Any]]) -> dict[str, float]:
    assert [tag["score"] for tag in tags] == sorted((tag["score"] for tag in tags), reverse=True)
    return {tag["label"]: tag["score"] for tag in tags}


def heatmaps_by_hand(*maps: torch.Tensor) -> np.ndarray:
    """Maps (C, H, W) of an image, each label's standardised, added and scaled to [0, 1]; in float64."""
    added = []
    for of_label in zip(*(each.double().numpy() for each in maps), strict=True):
        total = sum((one - one.mean()) / one.std() for one in of_label)
        added.append((total - total.min()) / (total.max() - total.min()))
    return np.stack(added)
