"""Peer heads on the same backbone, for comparison with SCT: trained, saved and loaded in the same way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from sct_hf.model.backbone_sct import BackbonePreTrainedModel, TimmBackbone
from sct_hf.model.configuration_sct import BackboneConfig, checked, config_field
from sct_hf.model.hierarchy_sct import LabelParents, check_label_parents, make_hierarchy
from sct_hf.model.outputs_sct import MultiLabelOutput, asymmetric_loss, known_targets, weighted_sum
from sct_hf.peers.label_text_head import LabelTextHead
from sct_hf.peers.registry import HEADS, make_head


@dataclass(frozen=True)
class PeerMatch:
    """Input of a peer head.

    Attributes:
        features (`Tensor` of shape (B, D₀, H, W)): The backbone's map.
        label_embeddings (`Tensor` of shape (C, D_t), *optional*): Label text of root mean square 1, if the head reads
            it.
    """

    features: Tensor
    label_embeddings: Tensor | None


@checked
class PeerConfig(BackboneConfig):
    """Configuration of `PeerForMultiLabelClassification`, with the arguments of `BackboneConfig`.

    Args:
        head (`str`, *optional*, defaults to `"linear"`):
            Name of the head, one of `HEADS`.
        head_kwargs (`dict`, *optional*):
            Further arguments of the head.
        label_embedding_size (`int`, *optional*, defaults to 768):
            Width of the label-text embeddings, for heads that read them.
        text_recipe (`dict`, *optional*):
            How the embeddings were made: encoder, template and normalised names.
        transport_loss_weight (`float`, *optional*, defaults to 0.1):
            Weight of the transport cost, for heads that have one.
    """

    model_type = "sct_peer"
    keys_to_ignore_at_inference = ["losses", "branch_logits"]

    head: str = config_field("linear", meaning=True, made=True)
    head_kwargs: dict[str, Any] | None = config_field(None, meaning=True)
    label_embedding_size: int = config_field(768, "> 0", made=True)
    text_recipe: dict[str, Any] | None = config_field(None, labels=True)
    transport_loss_weight: float | int = config_field(0.1, ">= 0")

    def validate_head(self) -> None:
        """Raise `ValueError` if the head does not exist."""
        if self.head not in HEADS:
            raise ValueError(
                f"head={self.head!r} does not exist: choose from {', '.join(HEADS)}, or import the module that "
                "registers it."
            )


class PeerForMultiLabelClassification(BackbonePreTrainedModel):
    """A backbone with a peer head, the asymmetric loss, and the head's transport loss if it has one.

    Args:
        config (`PeerConfig`): The configuration.

    Attributes:
        label_embeddings (`Tensor` of shape (C, D_t)): Label text, only with a head that reads it; see
            `set_labels`.

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
        count, width = len(config.label_names), config.label_embedding_size
        self.head = make_head(config.head, self.backbone.num_features, count, width, config.head_kwargs)
        if isinstance(self.head, LabelTextHead):
            self.label_embeddings: Tensor
            self.register_buffer("label_embeddings", torch.zeros(count, width))
        for queries in (module.weight for module in self.head.modules() if isinstance(module, nn.Embedding)):
            if queries.device.type != "meta":
                queries._is_hf_initialized = True  # type: ignore[attr-defined]  # they keep their unit variance
        self.hierarchy = make_hierarchy(config.label_parents, config.label_names)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if module is self and isinstance(self.head, LabelTextHead):
            init.normal_(self.label_embeddings)
        else:
            super()._init_weights(module)

    def set_labels(
        self,
        names: list[str],
        embeddings: Tensor,
        recipe: dict[str, Any] | None = None,
        label_parents: LabelParents | None = None,
    ) -> None:
        """Rename the labels of a head that reads label text, and set their text. Their number stays.

        Thresholds and hierarchy of the former labels are removed.

        Args:
            names (`list[str]`): The labels' names, each once.
            embeddings (`Tensor` of shape (C, D_t)): Their text embeddings, any float dtype.
            recipe (`dict`, *optional*): How the embeddings were made, kept as `config.text_recipe`.
            label_parents (`dict[str, list[str]]`, *optional*): Their hierarchy, see `set_hierarchy`.

        Raises:
            ValueError: The head reads no label text, a name repeats, count or width differ, or the hierarchy has other
                names.
        """
        if not isinstance(self.head, LabelTextHead):
            raise ValueError(f"head={self.config.head!r} reads no label text: change config.id2label and label2id.")
        shape = tuple(self.label_embeddings.shape)
        if len(set(names)) != shape[0] or len(names) != shape[0] or tuple(embeddings.shape) != shape:
            raise ValueError(
                f"{len(names)} names, {len(set(names))} of them different, and embeddings of shape "
                f"{tuple(embeddings.shape)} do not fit a classifier that is bound to its {shape[0]} labels: give "
                f"{shape[0]} names, each once, and embeddings of shape {shape}."
            )
        check_label_parents(label_parents or {}, names)
        self.label_embeddings = embeddings.detach().to(self.label_embeddings, copy=True)
        self.rename_labels(names, recipe, label_parents)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        backbone_features: Tensor | None = None,
        output_maps: bool = False,
    ) -> MultiLabelOutput:
        """Score images; with targets, also compute the loss.

        Args:
            pixel_values (`Tensor` of shape (B, 3, S_h, S_w), *optional*): Normalised images.
            labels (`Tensor` of shape (B, C), *optional*): Targets: 1, 0, soft values in [0, 1], −1 or NaN unknown.
            backbone_features (`Tensor` of shape (B, D₀, H, W), *optional*): The backbone's map, instead of images.
            output_maps (`bool`, *optional*, defaults to `False`): Whether to return region scores (B, C, H, W), of a
                head that has them.

        Returns:
            `MultiLabelOutput`: logits (B, C), logits of each branch, and the loss if targets are given.

        Raises:
            ValueError: An input has a wrong shape, size or value, or maps are asked of a head that has none.
        """
        if output_maps and not self.scores_regions:
            raise ValueError(f"output_maps=True, but head={self.config.head!r} scores no regions: leave it out.")
        match = self.match(pixel_values, backbone_features)
        branches = self.branches(match)  # {name: (B, C)}
        logits = self.fuse(branches)  # (B, C)
        loss = losses = None
        if labels is not None:
            losses = self.losses(branches, match, labels)
            loss = weighted_sum(losses, self.loss_weights)
        if self.hierarchy is not None and not self.training:
            logits = self.hierarchy(logits)  # (B, C)
        maps = {"region_scores": self.head.region_scores(match.features)} if output_maps else {}  # type: ignore[operator]
        return MultiLabelOutput(loss=loss, logits=logits, losses=losses, branch_logits=branches, **maps)

    @property
    def scores_regions(self) -> bool:
        """Whether the head has a map of each label, by a method `region_scores`: (B, D₀, H, W) to (B, C, H, W)."""
        return hasattr(self.head, "region_scores")

    def vocabulary(self) -> None:
        """Return None: a peer head scores only the labels of training."""

    def match(
        self, pixel_values: Tensor | None = None, backbone_features: Tensor | None = None, vocabulary: None = None
    ) -> PeerMatch:
        """Compute the backbone's map of images (B, 3, S_h, S_w), or take the one given (B, D₀, H, W).

        Raises:
            ValueError: Not exactly one of the two is given, or its shape is wrong.
        """
        text = None
        if isinstance(self.head, LabelTextHead):
            text = F.rms_norm(self.label_embeddings, self.label_embeddings.shape[-1:])  # (C, D_t)
        return PeerMatch(self.feature_map(pixel_values, backbone_features), text)

    def branches(self, match: PeerMatch, vocabulary: None = None) -> dict[str, Tensor]:
        """Float32 logits (B, C) by branch; a single branch is called "head"."""
        given = (match.features,) if match.label_embeddings is None else (match.features, match.label_embeddings)
        found = self.head(*given)
        named = found if isinstance(found, Mapping) else {"head": found}
        return {name: logits.float() for name, logits in named.items()}

    def fuse(self, branches: dict[str, Tensor], vocabulary: None = None) -> Tensor:
        """The logits (B, C) of the first branch, which score images."""
        return next(iter(branches.values()))

    def losses(self, branches: dict[str, Tensor], match: PeerMatch, labels: Tensor, **focus: Any) -> dict[str, Tensor]:
        """The asymmetric loss of each branch, and "transport" if the head has it: unweighted scalars.

        Args:
            branches (`dict[str, Tensor]` of shape (B, C) each): Logits by branch.
            match (`PeerMatch`): The head's input.
            labels (`Tensor` of shape (B, C)): Targets: 1, 0, soft values in [0, 1], −1 or NaN unknown.
            **focus: Arguments of `asymmetric_loss`; missing ones come from the configuration.

        Raises:
            ValueError: Targets have a wrong shape or value.
        """
        self.check_targets(labels, self.fuse(branches).shape)
        focus = self.config.focus | focus
        losses = {name: asymmetric_loss(logits, labels, **focus) for name, logits in branches.items()}
        if isinstance(self.head, LabelTextHead) and match.label_embeddings is not None:
            weights = known_targets(labels)[1]  # (B, C)
            transport = self.head.transport_loss(match.features, match.label_embeddings, weights)
            if transport is not None:
                losses["transport"] = transport
        return losses

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weights of losses by name; a missing one is 1."""
        return {**getattr(self.head, "branch_weights", {}), "transport": float(self.config.transport_loss_weight)}
