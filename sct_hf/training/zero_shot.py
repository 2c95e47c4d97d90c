"""Labels that a model was not trained on, scored by their text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

from sct_hf.errors import InputError
from sct_hf.metrics.zero_shot import KS, zero_shot_metrics
from sct_hf.model.backbone_sct import capability
from sct_hf.model.vocabulary_sct import encode_new_labels
from sct_hf.name_lists import PRINTED, some
from sct_hf.training.evaluation import evaluate_model
from sct_hf.training.models import TaggingModel
from sct_hf.training.report import percent

_LABELS_AT_ONCE = 256


class UnseenLabels:
    """Seen and unseen labels with their text, for scoring.

    The text is encoded immediately, so that labels that cannot be scored stop a run before it starts.

    Args:
        model: The model, before or after training on the seen labels.
        seen: The S seen labels to score.
        unseen: The U unseen labels.
        encoder: Name or folder of the text encoder; None for the checkpoint's.
        backbone_weights: Source of the classifier behind label prototypes; None to find it by the backbone's name.

    Raises:
        InputError: The model scores only the labels of training, or the labels cannot be embedded.
    """

    def __init__(
        self,
        model: TaggingModel,
        seen: Sequence[str],
        unseen: Sequence[str],
        encoder: str | None = None,
        backbone_weights: str | None = None,
    ) -> None:
        self.seen, self.unseen = list(seen), list(unseen)
        try:
            self._embeddings, self._prototypes = encode_new_labels(
                [*seen, *unseen], model, encoder, backbone_weights=backbone_weights
            )
        except ValueError as error:
            raise InputError(f"unseen_labels cannot be scored: {error}") from error

    def score(
        self, model: TaggingModel, loader: DataLoader[Any], targets: np.ndarray, accelerator: Accelerator
    ) -> dict[str, Any]:
        """Score every image twice: with the unseen labels only, and with all labels.

        Args:
            model: The trained model.
            loader: A loader for `evaluate_model`; its targets are ignored.
            targets: Targets (N, S + U) of the loader's images, in their order.
            accelerator: The accelerator of this process.

        Returns:
            The result of `zero_shot_metrics`.
        """
        zsl = self._scores(model, loader, accelerator, slice(len(self.seen), None))
        gzsl = self._scores(model, loader, accelerator, slice(None))
        return zero_shot_metrics(zsl, gzsl, targets, seen=self.seen, unseen=self.unseen)

    def _scores(
        self, model: TaggingModel, loader: DataLoader[Any], accelerator: Accelerator, labels: slice
    ) -> np.ndarray:
        embeddings = self._embeddings[labels]
        prototypes: Tensor | None = None if self._prototypes is None else self._prototypes[labels]
        tagger: Any = model
        options: dict[str, Any] = {"vocabulary": tagger.vocabulary(embeddings, prototypes)}
        score = None
        if len(embeddings) > _LABELS_AT_ONCE and capability(model, "scores_in_parts"):
            score, options = tagger.score_in_parts, options | {"size": _LABELS_AT_ONCE}
        return evaluate_model(model, loader, accelerator, description="unseen labels", options=options, score=score)[0]


def format_zero_shot(figures: dict[str, Any]) -> str:
    """Format the result of `zero_shot_metrics` as text, in percent."""
    ap = figures["ZSL_AP"]
    lines = []
    for kind, words in (("ZSL", "unseen labels alone"), ("GZSL", "seen and unseen labels together")):
        ranks = "   ".join(f"F1@{k} {percent(figures[f'{kind}_F1@{k}'])}" for k in KS)
        parts = f" (seen {percent(figures['GZSL_seen_mAP'])}, unseen {percent(figures['GZSL_unseen_mAP'])})"
        lines.append(
            f"{kind:<4} {words}: mAP {percent(figures[f'{kind}_mAP'])}{parts if kind == 'GZSL' else ''}, "
            f"chance {percent(figures[f'{kind}_chance_mAP'])}   {ranks}"
        )
    lines.append("AP of unseen labels: " + some([f"{name} {percent(value)}" for name, value in ap.items()], PRINTED))
    return "\n".join(lines)
