"""C-Tran's evaluation: score labels while the model is told some others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from sct_hf.data import LabelledImages
from sct_hf.data.masks import known_entries
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.training.evaluation import evaluate_model
from sct_hf.training.models import TaggingModel
from sct_hf.training.report import percent


def score_with_known_labels(
    model: TaggingModel,
    loader: DataLoader[Any],
    images: LabelledImages,
    scores: np.ndarray,
    accelerator: Accelerator,
    *,
    shares: Sequence[float],
    seed: int,
) -> list[dict[str, Any]]:
    """Tell the model a random part of each image's labels, and score the others.

    After C-Tran (Lanchantin et al., CVPR 2021), which reports the mAP of the others. The comparison with scores
    without known labels is this project's. The known labels depend only on the seed and the names of image and label;
    a larger share includes a smaller one (see `known_entries`).

    Args:
        model: A model with label states.
        loader: Loader of `images`, for `evaluate_model`.
        images: The images, with the model's labels.
        scores: Scores (N, C) of the model without known labels.
        accelerator: The accelerator of this process.
        shares: Probabilities in (0, 1) that an entry is known.
        seed: Seed of the draw.

    Returns:
        For each share `{"share", "known" (entries), "mAP", "mAP_without"}`, both over the entries left.
    """
    names, targets = images.label_names, images.targets()
    rows = []
    for share in shares:
        drawn = known_entries(images.image_ids, names, split="known labels", proportion=share, seed=seed)
        told = torch.from_numpy(np.where(drawn, targets, -1)).float()  # (N, C)
        if model.hierarchy is not None:
            told = model.hierarchy.implied(told.to(model.device)).cpu()
        known = told.numpy() >= 0  # (N, C)
        with_known, _, _ = evaluate_model(
            model, loader, accelerator, description=f"known labels {share:g}", known=told
        )
        rest = np.where(known, -1, targets)
        figures = [multilabel_metrics(each, rest)["mAP"] for each in (with_known, scores)]
        rows.append(
            {"share": share, "known": int(known.sum()), **dict(zip(("mAP", "mAP_without"), figures, strict=True))}
        )
    return rows


def format_known_labels(rows: Sequence[dict[str, Any]]) -> str:
    """Format the result of `score_with_known_labels` as text, in percent."""
    lines = [
        f"{100 * row['share']:3g} % known: mAP {percent(row['mAP'])}, {percent(row['mAP_without'])} without them"
        for row in rows
    ]
    return "\n".join(["the labels left where a part is known", *lines])
