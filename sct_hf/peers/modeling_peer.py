"""Peer heads on the same backbone, to compare SCT with: trained, saved and loaded as SCT is."""

from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers.utils import can_return_tuple

from sct_hf.model.backbone_sct import TimmBackbone
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.model.losses_sct import asymmetric_loss
from sct_hf.model.outputs_sct import MultiLabelOutput
from sct_hf.model.pretrained_sct import BackbonePreTrainedModel
from sct_hf.peers.csra import CSRAHead
from sct_hf.peers.linear import LinearHead
from sct_hf.peers.ml_decoder import MLDecoderHead
from sct_hf.peers.query2label import Query2LabelHead

HEADS: dict[str, type[nn.Module]] = {
    "linear": LinearHead,
    "csra": CSRAHead,
    "ml_decoder": MLDecoderHead,
    "query2label": Query2LabelHead,
}
"""Heads by name; each is made from the widths D₀ and C, and maps features (B, D₀, H, W) to logits (B, C)."""


@strict
class PeerConfig(BackboneConfig):
    """Configuration of `PeerForMultiLabelClassification`; the arguments of `BackboneConfig` come on top.

    Args:
        head (`str`, *optional*, defaults to `"linear"`):
            Name of the head, one of `HEADS`.
        head_kwargs (`dict`, *optional*):
            Further arguments of the head.
    """

    model_type = "sct_peer"
    keys_to_ignore_at_inference = ["losses"]

    head: str = "linear"
    head_kwargs: dict[str, Any] | None = None

    def validate_head(self) -> None:
        """Raise `ValueError` for a head that does not exist."""
        if self.head not in HEADS:
            raise ValueError(f"head={self.head!r} does not exist: choose one of {', '.join(HEADS)}.")


class PeerForMultiLabelClassification(BackbonePreTrainedModel):
    """A backbone with a peer head, and the asymmetric loss.

    Args:
        config (`PeerConfig`): The configuration.

    Raises:
        ValueError: Arguments that the head cannot use.
    """

    config_class = PeerConfig
    config: PeerConfig
    base_model_prefix = "backbone"
    _no_split_modules = ["TimmBackbone"]

    def __init__(self, config: PeerConfig) -> None:
        super().__init__(config)
        self.backbone = TimmBackbone(config)
        try:
            self.head = HEADS[config.head](self.backbone.num_features, config.num_labels, **config.head_kwargs or {})
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise ValueError(
                f"head_kwargs={config.head_kwargs!r} does not suit head={config.head!r}: {error}. See the head's "
                "arguments and the multiples its widths must be."
            ) from error
        for queries in (module.weight for module in self.head.modules() if isinstance(module, nn.Embedding)):
            if queries.device.type != "meta":
                queries._is_hf_initialized = True  # type: ignore[attr-defined]  # they keep their unit variance
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        backbone_features: Tensor | None = None,
        **kwargs: Any,
    ) -> MultiLabelOutput:
        """Score pictures; with targets, also compute the loss.

        Args:
            pixel_values (`Tensor` of shape (B, 3, S_h, S_w), *optional*): Normalised pictures.
            labels (`Tensor` of shape (B, C), *optional*): Targets: 1, 0, soft values in [0, 1], −1 or NaN unknown.
            backbone_features (`Tensor` of shape (B, D₀, H, W), *optional*): The backbone's map, instead of pictures.

        Returns:
            `MultiLabelOutput`: logits (B, C), and the loss where targets are given.

        Raises:
            ValueError: An input of a wrong shape, size or value.
        """
        features = self.feature_map(pixel_values, backbone_features)  # (B, D₀, H, W)
        logits = self.head(features).float()  # (B, C)
        loss = losses = None
        if labels is not None:
            self.check_targets(labels, len(features))
            config = self.config
            loss = asymmetric_loss(
                logits, labels, gamma_neg=config.gamma_neg, gamma_pos=config.gamma_pos, clip=config.clip
            )
            losses = {"classification": loss}
        return MultiLabelOutput(loss=loss, logits=logits, losses=losses)
