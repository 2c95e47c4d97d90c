"""SCT with known labels as an additional input, after C-Tran.

Lanchantin et al., "General Multi-label Image Classification with Transformers", CVPR 2021. A learnt state is added to
the features of labels known to be present or absent, and labels attend to each other; in C-Tran they attend to regions
too.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from sct_hf.model.configuration_sct import SCTConfig, checked
from sct_hf.model.layers_sct import EncoderLayer
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification, SCTModel
from sct_hf.model.outputs_sct import Match, MultiLabelOutput
from sct_hf.model.transport_sct import full_precision
from sct_hf.model.vocabulary_sct import Vocabulary
from sct_hf.peers.registry import register_head

KNOWN_LOGIT = 50.0
"""Logit of a label known to be present; its negative for one known to be absent. Finite in float16."""
KNOWN_SHARE_MAX = 0.75
"""Largest share of an image's targets that training tells the model; C-Tran keeps at least a quarter unknown."""


@checked
class SCTKnownLabelsConfig(SCTConfig):
    """Configuration of `SCTWithKnownLabels`, with the fields of `SCTConfig`."""

    model_type = "sct_known_labels"

    def __post_init__(self, **kwargs: Any) -> None:
        for former in ("label_interaction", "label_states", "known_share_max"):  # of checkpoints of sct_hf 0.1
            kwargs.pop(former, None)
        super().__post_init__(**kwargs)


@dataclass(frozen=True)
class KnownVocabulary(Vocabulary):
    """A vocabulary with the known labels of each image: (B, C), 1 present, 0 absent, −1 or NaN unknown."""

    known: Tensor


class LabelStates(nn.Module):
    """Add a learnt state embedding to the features of labels known to be absent or present (C-Tran).

    Unknown labels keep their features: their state is the zero vector, as in C-Tran's code. The attention between
    labels that follows is this project's.

    Args:
        dim: Width D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.zeros(2, dim))  # absent, present

    def forward(self, label_features: Tensor, known_labels: Tensor) -> Tensor:
        """Mark label features (B, C, D) by known labels (B, C): 1 present, 0 absent, −1 or NaN unknown."""
        states = torch.stack((known_labels == 0, known_labels == 1), dim=-1).to(self.embeddings.dtype)  # (B, C, 2)
        return label_features + states @ self.embeddings


class SCTKnownLabelsModel(SCTModel):
    """`SCTModel` whose label features include the states of known labels and attend to each other."""

    config_class = SCTKnownLabelsConfig

    def __init__(self, config: SCTKnownLabelsConfig) -> None:
        super().__init__(config)
        self.label_interaction = EncoderLayer(self.hidden_size, config)
        self.label_states = LabelStates(self.hidden_size)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LabelStates):
            init.normal_(module.embeddings)
        else:
            super()._init_weights(module)

    def label_features(self, image_feature: Tensor, vocabulary: Vocabulary) -> Tensor:
        """As `SCTModel.label_features`, then states and attention: (B, C, D)."""
        features = super().label_features(image_feature, vocabulary)
        known = getattr(vocabulary, "known", None)
        return self.label_interaction(features if known is None else self.label_states(features, known))


@register_head("sct_known_labels")
class SCTWithKnownLabels(SCTForMultiLabelClassification):
    """SCT that uses known labels to score the others. The logits of known labels state what is known.

    In training, some targets of each image are drawn, given to the model and left out of the losses ("label mask
    training").
    """

    config_class = SCTKnownLabelsConfig
    base_model_class = SCTKnownLabelsModel
    takes_known_labels = True
    scores_in_parts = False  # attention between labels needs all of them

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        backbone_features: Tensor | None = None,
        vocabulary: Vocabulary | None = None,
        output_maps: bool = False,
        output_hidden_states: bool | None = None,
        known: Tensor | None = None,
    ) -> MultiLabelOutput:
        """As `SCTForMultiLabelClassification.forward`.

        Args:
            pixel_values (`Tensor` of shape (B, 3, S_h, S_w), *optional*): Normalised images.
            labels (`Tensor` of shape (B, C), *optional*): Targets; the loss ignores those of known labels.
            backbone_features (`Tensor` of shape (B, D₀, H, W), *optional*): The backbone's map, instead of images.
            vocabulary (`Vocabulary`, *optional*): Other labels.
            output_maps (`bool`, *optional*, defaults to `False`): Whether to return maps (B, C, H, W).
            output_hidden_states (`bool`, *optional*): Whether to return the regions before and after each layer.
            known (`Tensor` of shape (B, C), *optional*): 1 present, 0 absent, −1 or NaN unknown. If not given, it is
                drawn from the targets in training.

        Raises:
            ValueError: An input has a wrong shape, size or value.
        """
        vocabulary = vocabulary or self.vocabulary()
        images = pixel_values if backbone_features is None else backbone_features
        if known is None and labels is not None and self.training:
            self.check_targets(labels, torch.Size((0 if images is None else len(images), len(vocabulary))))
            known = draw_known_labels(labels, KNOWN_SHARE_MAX)
        if known is not None:
            check_known_labels(known, (0 if images is None else len(images), len(vocabulary)))
            told = self.with_known(vocabulary, known)
            vocabulary, labels = told, None if labels is None else without_known(labels, told.known)
        wanted = {"output_maps": output_maps, "output_hidden_states": output_hidden_states}
        return super().forward(pixel_values, labels, backbone_features, vocabulary, **wanted, return_dict=True)

    def match(
        self,
        pixel_values: Tensor | None,
        backbone_features: Tensor | None,
        vocabulary: Vocabulary | None = None,
        known: Tensor | None = None,
    ) -> Match:
        """As `SCTForMultiLabelClassification.match`, with `known` (B, C)."""
        if known is not None:
            vocabulary = self.with_known(vocabulary or self.vocabulary(), known)
        return super().match(pixel_values, backbone_features, vocabulary)

    def with_known(self, vocabulary: Vocabulary, known: Tensor) -> KnownVocabulary:
        """A vocabulary with known labels (B, C); in evaluation also those that follow from the hierarchy."""
        if self.hierarchy is not None and not self.training and vocabulary.own:
            known = self.hierarchy.implied(known)
        parts = {name: getattr(vocabulary, name) for name in Vocabulary.__dataclass_fields__}
        return KnownVocabulary(**parts, known=known)

    def finish(self, logits: Tensor, vocabulary: Vocabulary) -> Tensor:
        """As `SCTForMultiLabelClassification.finish`; in evaluation, logits of known labels are set first."""
        known = getattr(vocabulary, "known", None)
        if known is not None and not self.training:
            logits = known_logits(logits, known)
        return super().finish(logits, vocabulary)


def draw_known_labels(labels: Tensor, share_max: float) -> Tensor:
    """Draw the targets that the model is told in a training step (C-Tran's label mask training).

    For each image with n usable targets, a number from 0 to ⌊share_max · n⌋ is drawn uniformly, then that many
    targets. C-Tran keeps at least a quarter unknown. Torch's global generator is used.

    Args:
        labels (`Tensor` of shape (B, C)): Targets; only exact 0 or 1 may be drawn.
        share_max (`float`): Largest share, in (0, 1].

    Returns:
        `Tensor` of shape (B, C), float32: 1 and 0 where drawn, −1 elsewhere.
    """
    usable = (labels == 0) | (labels == 1)  # (B, C)
    most = (usable.sum(1) * share_max + 1e-4).floor()  # (B,); 1e-4: 0.7 · 10 is 7
    count = (torch.rand(len(labels), device=labels.device) * (most + 1)).floor()  # (B,)
    order = torch.rand(labels.shape, device=labels.device).masked_fill(~usable, 2.0)  # (B, C)
    drawn = order.argsort(1).argsort(1) < count.unsqueeze(1)  # (B, C)
    return torch.where(drawn, labels, -1).float()


def without_known(labels: Tensor, known_labels: Tensor) -> Tensor:
    """Targets (B, C) set to NaN, unknown, for labels that the model is told: there is nothing to learn."""
    return full_precision(labels).masked_fill(known_labels >= 0, torch.nan)


def known_logits(logits: Tensor, known_labels: Tensor) -> Tensor:
    """Logits (B, C), set to ±`KNOWN_LOGIT` for known labels."""
    known_values = KNOWN_LOGIT * (2 * known_labels.to(logits.dtype) - 1)
    return torch.where(known_labels >= 0, known_values, logits)


def check_known_labels(known_labels: Tensor, shape: tuple[int, ...]) -> None:
    """Check known labels.

    Args:
        known_labels: The values given.
        shape: The shape needed, (B, C).

    Raises:
        ValueError: The shape is wrong, or a value is not 1, 0, −1 or NaN. Values are checked on the CPU only, since
            the check would stall a GPU.
    """
    if tuple(known_labels.shape) != tuple(shape):
        raise ValueError(
            f"known has shape {tuple(known_labels.shape)}, but {tuple(shape)} is needed: one value an image "
            "and label, 1 present, 0 absent, −1 or NaN unknown."
        )
    if known_labels.device.type == "cpu" and not torch.compiler.is_compiling():
        fine = (known_labels == 0) | (known_labels == 1) | (known_labels == -1) | known_labels.isnan()
        if not fine.all():
            raise ValueError(
                f"known contains {known_labels[~fine][0].item()}: give 1 for present, 0 for absent, −1 or NaN "
                "for unknown."
            )


__all__ = ["KNOWN_LOGIT", "KNOWN_SHARE_MAX", "KnownVocabulary", "LabelStates", "SCTKnownLabelsConfig"]
__all__ += ["SCTKnownLabelsModel", "SCTWithKnownLabels", "check_known_labels", "draw_known_labels", "known_logits"]
__all__ += ["without_known"]
