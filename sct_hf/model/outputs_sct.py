"""What the models return."""

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class SCTModelOutput(ModelOutput):
    """What `SCTModel` returns; first what `pipeline("image-feature-extraction")` gives of an image.

    Attributes:
        label_features (`Tensor` of shape (B, C, D)): Semantic-related features Fˢ: each label as this image has it.
        last_hidden_state (`Tensor` of shape (B, P, D)): Regions in context, X.
        semantic_map (`Tensor` of shape (B, C, H, W)): M, logits.
        map_logits (`Tensor` of shape (B, C)): M pooled over regions; float32.
        pooled_features (`Tensor` of shape (B, C, D₀), *optional*): The backbone's features, averaged for each label
            by π← and the prototype plan, where `label_pooling` asks for them.
        transport_plan (`Tensor` of shape (B, C, H, W)): π→, sums to 1 over the labels at each region; float32.
        backward_plan (`Tensor` of shape (B, C, H, W), *optional*): π←, sums to 1 over the regions for each label;
            float32.
        prototype_plan (`Tensor` of shape (B, C, H, W), *optional*): The backward plan of the label prototypes, where
            there are any; sums to 1 over the regions for each label; float32.
        transport_loss (`Tensor`, scalar, *optional*): L_CT, where label weights were given.
        hidden_states (`tuple[Tensor]`, *optional*): Regions (B, P, D) before the encoder and after each layer.
    """

    label_features: Tensor | None = None
    last_hidden_state: Tensor | None = None
    semantic_map: Tensor | None = None
    map_logits: Tensor | None = None
    pooled_features: Tensor | None = None
    transport_plan: Tensor | None = None
    backward_plan: Tensor | None = None
    prototype_plan: Tensor | None = None
    transport_loss: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


@dataclass
class MultiLabelOutput(ModelOutput):
    """What `SCTForMultiLabelClassification` returns.

    Attributes:
        loss (`Tensor`, scalar, *optional*): L_cls + λ₁·L_M + λ₂·L_CT, where targets were given; float32.
        logits (`Tensor` of shape (B, C)): A label's score is the sigmoid of its logit; float32. In evaluation those
            of a hierarchy's parents are raised to their highest descendant's.
        losses (`dict[str, Tensor]`, *optional*): The parts of the loss, unweighted: "classification" (of the
            region logits), "semantic" (of the pooled map), "transport", and, where the configuration adds them,
            "pooled" (of the logits of pooled features), "contrast", "erasing" (the loss of erased images) and
            "hierarchy".
        semantic_map, transport_plan, backward_plan, prototype_plan, region_logits (`Tensor` of shape (B, C, H, W)
            each, *optional*): On `output_maps=True`, see `SCTModelOutput`; region logits are R.
        label_features (`Tensor` of shape (B, C, D), *optional*): On `output_label_features=True`.
        branch_logits (`dict[str, Tensor]` of shape (B, C) each, *optional*): On `output_branches=True`: the logits
            that have a loss of their own, "region", "map" and, where `label_pooling` adds them, "pooled".
        pooled_features (`Tensor` of shape (B, C, D₀), *optional*): With those, see `SCTModelOutput`.
        hidden_states (`tuple[Tensor]`, *optional*): On `output_hidden_states=True`.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    semantic_map: Tensor | None = None
    transport_plan: Tensor | None = None
    backward_plan: Tensor | None = None
    prototype_plan: Tensor | None = None
    region_logits: Tensor | None = None
    label_features: Tensor | None = None
    branch_logits: dict[str, Tensor] | None = None
    pooled_features: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


__all__ = ["MultiLabelOutput", "SCTModelOutput"]
