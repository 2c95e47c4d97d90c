"""Scores of very many labels, a part of them at a time (ours)."""

from typing import Any

import torch
from torch import Tensor

from .transport_cost_sct import plan_logits
from .transport_sct import MIN_TEMPERATURE, cosine_similarity, transport_plan


def streamed_logits(
    model: Any,
    pixel_values: Tensor | None,
    backbone_features: Tensor | None,
    label_embeddings: Tensor | None,
    label_prototypes: Tensor | None,
    labels_at_once: int,
) -> Tensor:
    """Score images against labels, `labels_at_once` of them in memory, to the logits of `forward`.

    One thing makes the score of a label depend on the others: the forward plan shares each region among all labels,
    and regions are scored together with what it brings them (`aligned_features`). So the labels are gone through
    twice: once for what the plan brings, by a running softmax, and once more for the scores, which depend on nothing
    but that. Beside text, prototypes and logits, which are a row or a column a label, memory does not grow with C.

    Args:
        model: An `SCTForMultiLabelClassification` with `scorer="label"` and without `label_interaction`; with
            `label_graph`, for other labels than its own, between which no messages pass.
        pixel_values: As in `forward`.
        backbone_features: As in `forward`.
        label_embeddings: (C, D_t), or none for the model's own labels.
        label_prototypes: (C, D₀), or none.
        labels_at_once: Labels in a part.

    Returns:
        (B, C), float32.

    Raises:
        ValueError: A linear scorer, attention or messages between labels, or a number of labels below 1.
    """
    sct, config = model.sct, model.config
    if config.scorer != "label" or config.label_interaction:
        raise ValueError(
            f"labels_at_once={labels_at_once} is for scorer='label' without label_interaction: this model has "
            f"scorer={config.scorer!r}, label_interaction={config.label_interaction}."
        )
    if config.label_graph and label_embeddings is None:
        raise ValueError(
            f"labels_at_once={labels_at_once} cannot be used with label_graph=True: messages pass between the model's "
            "own labels, so they go through the head together. Give label_embeddings, or leave labels_at_once out."
        )
    if labels_at_once < 1:
        raise ValueError(f"labels_at_once={labels_at_once} cannot be used: give a number >= 1.")
    embeddings, prototypes = sct.label_text(label_embeddings, label_prototypes)
    features, states, _ = sct.region_features(pixel_values, backbone_features)
    regions = states[-1]  # (B, P, D)
    temperature = sct.log_temperature.exp().clamp(min=MIN_TEMPERATURE)

    familiarity = sct.familiarity(label_embeddings)

    def part(k: slice) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        own, known = (None if rows is None else rows[k] for rows in (prototypes, familiarity))
        label_features, semantic_map = sct.label_maps(features, regions, embeddings[k], own, known)
        return label_features, semantic_map, cosine_similarity(regions, label_features), own

    starts = range(0, len(embeddings), labels_at_once)
    parts = [slice(start, start + labels_at_once) for start in starts]
    aligned = None
    if model.scorer.label_proj is not None:
        dtype = torch.promote_types(regions.dtype, torch.float32)
        most = regions.new_full((*regions.shape[:2], 1), -torch.inf, dtype=dtype)  # (B, P, 1)
        total, brought = torch.zeros_like(most), torch.zeros_like(most)  # (B, P, 1), (B, P, 2D)
        for k in parts:
            label_features, semantic_map, similarity, _ = part(k)
            logits = plan_logits(similarity, temperature, sct.log_prior(semantic_map))  # (B, P, c)
            peak = torch.maximum(most, logits.amax(2, keepdim=True))
            mass, faded = (logits - peak).exp(), (most - peak).exp()
            total = total * faded + mass.sum(2, keepdim=True)
            brought = brought * faded + mass @ model.scorer.label_proj(label_features).to(mass.dtype)
            most = peak
        aligned = (brought / total).to(regions.dtype)
    scores = []
    for k in parts:
        label_features, semantic_map, similarity, own = part(k)
        log_prior = sct.log_prior(semantic_map)
        backward_plan = transport_plan(similarity, temperature, log_prior, None, dim=1)  # (B, P, c)
        prototype_plan = sct.prototype_plan(features, own)
        text = sct.centred_text(embeddings[k])  # (c, D_t)
        logits, _, _ = model.label_logits(
            model.scorer.score(regions, aligned, text),
            sct.semantic_map.pool(semantic_map, prototype_plan),
            sct.pooled_features(features, backward_plan, prototype_plan),
            label_features,
            prototype_plan,
            text,
            None if familiarity is None else familiarity[k],
        )
        scores.append(logits)
    return torch.cat(scores, dim=1)


__all__ = ["streamed_logits"]
