"""SCT: semantic-aware representation learning via conditional transport, for multi-label image classification.

A reconstruction from the abstract and a summary of arXiv 2507.14918, whose equations and code were not at hand. What
is the paper's, its kin's (CLSL, arXiv 2510.10055), the theory's or ours is said part by part. Shapes: B images,
S input side, P = H·W regions, C labels, D feature width, D_t label-text width.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .backbone_sct import TimmBackbone
from .configuration_sct import SCTConfig
from .layers_sct import (
    EncoderLayer,
    LabelScores,
    PooledScorer,
    RegionScorer,
    SemanticFeatures,
    SemanticMap,
    aggregate,
    sine_positions,
)
from .losses_sct import asymmetric_loss, known_targets
from .outputs_sct import MultiLabelOutput, SCTModelOutput
from .pretrained_sct import BackbonePreTrainedModel
from .transport_sct import cosine_similarity, full_precision, transport_loss, transport_plan


class SCTPreTrainedModel(BackbonePreTrainedModel):
    """Base class of the SCT models."""

    config_class = SCTConfig
    config: SCTConfig
    base_model_prefix = "sct"
    _keep_in_fp32_modules_strict = ["log_temperature"]
    _no_split_modules = ["SCTModel", "TimmBackbone", "EncoderLayer"]  # accelerate finds no place for a part's buffers

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, SCTModel):
            init.constant_(module.log_temperature, math.log(self.config.temperature))
            init.normal_(module.label_embeddings)
            if module.label_prototypes is not None:
                init.zeros_(module.label_prototypes)
        elif isinstance(module, LabelScores):
            init.zeros_(module.bias)
        else:
            super()._init_weights(module)


class SCTModel(SCTPreTrainedModel):
    """Regions, label features and the transport between them: everything of SCT but the region scores.

    Args:
        config (`SCTConfig`): The configuration.
    """

    _keys_to_ignore_on_load_unexpected = [r"^(pooled_)?scorer\."]

    def __init__(self, config: SCTConfig) -> None:
        super().__init__(config)
        self.backbone = TimmBackbone(config)
        dim = config.hidden_size or self.backbone.num_features
        if dim % 4 or dim % config.encoder_attention_heads:
            raise ValueError(
                f"The width of regions is {dim} (hidden_size={config.hidden_size}): set hidden_size to a multiple of "
                f"4 and of encoder_attention_heads={config.encoder_attention_heads}."
            )
        self.hidden_size = dim
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.region_proj = nn.Linear(self.backbone.num_features, dim) if config.hidden_size else nn.Identity()
        self.region_norm = nn.LayerNorm(dim) if config.hidden_size and config.projection_norm else nn.Identity()
        self.encoder = nn.ModuleList(EncoderLayer(dim, config) for _ in range(config.encoder_layers))
        self.semantic_features = SemanticFeatures(dim, config)
        self.label_interaction = EncoderLayer(dim, config) if config.label_interaction else None
        wide = self.backbone.num_features
        self.semantic_map = SemanticMap(wide if config.map_input == "features" else dim, dim, config)
        self.log_temperature = nn.Parameter(torch.zeros(()), requires_grad=config.learn_temperature)
        self.label_embeddings: Tensor
        self.register_buffer("label_embeddings", torch.zeros(len(config.label_names), config.label_embedding_size))
        self.label_prototypes: Tensor | None
        prototypes = torch.zeros(len(config.label_names), wide) if config.label_prototypes else None
        self.register_buffer("label_prototypes", prototypes)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        label_weights: Tensor | None = None,
        *,
        backbone_features: Tensor | None = None,
        label_embeddings: Tensor | None = None,
        label_prototypes: Tensor | None = None,
        output_backward_plan: bool = True,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> SCTModelOutput:
        """Compute regions, label features and the transport between them.

        Args:
            pixel_values (`Tensor` of shape (B, 3, S_h, S_w), *optional*): Normalised pictures.
            label_weights (`Tensor` of shape (B, C), *optional*): q ≥ 0; if given, the transport loss is computed.
                The plans never depend on it.
            backbone_features (`Tensor` of shape (B, D₀, H, W), *optional*): The backbone's map, instead of pictures.
            label_embeddings (`Tensor` of shape (C, D_t), *optional*): Text of other labels than the model's own, which
                the model keeps.
            label_prototypes (`Tensor` of shape (C, D₀), *optional*): Their prototypes, where the model has prototypes.
            output_backward_plan (`bool`, *optional*, defaults to `True`): Whether to return π←.
            output_hidden_states (`bool`, *optional*): Whether to return the regions before and after each layer.

        Returns:
            `SCTModelOutput`.

        Raises:
            ValueError: Pictures, embeddings or prototypes of a wrong shape, or other labels of a linear scorer.
        """
        label_embeddings, label_prototypes = self._label_text(label_embeddings, label_prototypes)
        features = self.feature_map(pixel_values, backbone_features)  # (B, D₀, H, W)
        grid = features.shape[-2:]
        features = features.flatten(2).transpose(1, 2)  # (B, P, D₀)
        regions = self.region_norm(self.region_proj(self.input_dropout(features)))  # (B, P, D)
        hidden_states = [regions]
        positions = (
            sine_positions(grid[0], grid[1], self.hidden_size, regions.device) if self.encoder else None
        )  # (P, D)
        for layer in self.encoder:
            regions = layer(regions, positions)  # (B, P, D)
            hidden_states.append(regions)

        label_features = self.semantic_features(label_embeddings, regions.mean(dim=1))  # (B, C, D)
        if self.label_interaction is not None:
            label_features = self.label_interaction(label_features)  # (B, C, D)
        tokens = features if self.config.map_input == "features" else regions
        semantic_map = self.semantic_map(tokens, label_features, label_prototypes)  # (B, P, C)

        prototype_plan = self._prototype_plan(features, label_prototypes)  # (B, P, C), or none

        log_prior = self._log_prior(semantic_map)  # (B, P, C), or none
        temperature = self.log_temperature.exp()
        similarity = cosine_similarity(regions, label_features)  # (B, P, C)
        plan = transport_plan(similarity, temperature, log_prior, None, dim=2)  # (B, P, C)
        backward_plan = transport_plan(similarity, temperature, log_prior, None, dim=1)  # (B, P, C)
        pooled_features = None
        if self.config.label_pooling:
            weights = backward_plan  # (B, P, C)
            if prototype_plan is not None:
                weights = torch.lerp(weights, prototype_plan, self.config.prototype_pooling)
            pooled_features = weights.transpose(1, 2).to(features.dtype) @ features  # (B, C, D₀)
        loss = None
        if label_weights is not None:
            loss = transport_loss(
                similarity,
                temperature=temperature,
                region_log_prior=log_prior,
                label_log_prior=log_prior,
                label_weights=label_weights,
                rho=self.config.rho,
            )

        wants_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return SCTModelOutput(
            label_features=label_features,
            last_hidden_state=regions,
            semantic_map=_as_map(semantic_map, grid),
            map_logits=self.semantic_map.pool(semantic_map, prototype_plan),  # (B, C)
            pooled_features=pooled_features,
            transport_plan=_as_map(plan, grid),
            backward_plan=_as_map(backward_plan, grid) if output_backward_plan else None,
            prototype_plan=None if prototype_plan is None else _as_map(prototype_plan, grid),
            transport_loss=loss,
            hidden_states=tuple(hidden_states) if wants_states else None,
        )

    def _label_text(self, embeddings: Tensor | None, prototypes: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The text embeddings and prototypes given, checked, or else the model's own."""
        if embeddings is None and prototypes is None:
            return self.label_embeddings, self.label_prototypes
        if embeddings is None:
            raise ValueError("label_prototypes are given without label_embeddings: give both.")
        if self.config.scorer == "linear":
            raise ValueError(
                "label_embeddings are of no use to a linear scorer, whose weights are bound to the labels that it was "
                "trained on: use a checkpoint trained with scorer='label'."
            )
        self.check_label_text(len(embeddings), embeddings, prototypes)
        own = self.label_embeddings
        return embeddings.to(own), None if prototypes is None else prototypes.to(own)

    def _prototype_plan(self, features: Tensor, prototypes: Tensor | None) -> Tensor | None:
        """The backward plan (B, P, C) from label prototypes (C, D₀) to the backbone's features (B, P, D₀) (ours)."""
        if prototypes is None:
            return None
        similarity = cosine_similarity(features, prototypes.unsqueeze(0))  # (B, P, C)
        return transport_plan(similarity, self.config.prototype_temperature, None, None, dim=1)

    def check_label_text(self, count: int, embeddings: Tensor, prototypes: Tensor | None) -> None:
        """Check the shapes of the text embeddings (C, D_t) and prototypes (C, D₀) of `count` labels.

        Raises:
            ValueError: Another count or width, prototypes missing, or given to a model without them.
        """
        width = self.config.label_embedding_size
        if tuple(embeddings.shape) != (count, width):
            raise ValueError(
                f"embeddings have shape {tuple(embeddings.shape)}, but ({count}, {width}) is needed: "
                f"{count} names, label_embedding_size={width}."
            )
        has, features = self.config.label_prototypes, self.backbone.num_features
        if has != (prototypes is not None) or (prototypes is not None and prototypes.shape != (count, features)):
            found = None if prototypes is None else tuple(prototypes.shape)
            needed = f"({count}, {features})" if has else "none"
            raise ValueError(
                f"prototypes have shape {found}, but {needed} is needed: label_prototypes={has}. "
                "Make them by sct_hf.make_label_prototypes where there are any."
            )

    def _log_prior(self, semantic_map: Tensor) -> Tensor | None:
        """Guidance by M (B, P, C) [paper: guided by M; form: ours].

        The log-priors log softmax of M over regions and over labels differ from M by a constant along that dimension,
        which the softmax of either plan takes out again: M itself serves both.
        """
        if self.config.guidance == "none":
            return None
        return full_precision(semantic_map.detach() if self.config.guidance == "detached" else semantic_map)


class SCTForMultiLabelClassification(SCTPreTrainedModel):
    """SCT with its region scores and losses: pictures to one logit a label.

    Args:
        config (`SCTConfig`): The configuration.
    """

    def __init__(self, config: SCTConfig) -> None:
        super().__init__(config)
        self.sct = SCTModel(config)
        dim = self.sct.hidden_size
        self.scorer = RegionScorer(dim, config)
        wide = self.sct.backbone.num_features
        self.pooled_scorer = PooledScorer(wide, dim, config) if config.label_pooling else None
        self.post_init()
        self._keys_to_ignore_on_load_unexpected = set()  # the base model's, that has no scorer, are not this one's

    @property
    def backbone(self) -> TimmBackbone:
        """The timm backbone."""
        return self.sct.backbone

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        backbone_features: Tensor | None = None,
        label_embeddings: Tensor | None = None,
        label_prototypes: Tensor | None = None,
        output_maps: bool = False,
        output_label_features: bool = False,
        output_branches: bool = False,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> MultiLabelOutput:
        """Score pictures; with targets, also compute the loss.

        Args:
            pixel_values (`Tensor` of shape (B, 3, S_h, S_w), *optional*): Normalised pictures.
            labels (`Tensor` of shape (B, C), *optional*): Targets: 1, 0, soft values in [0, 1], −1 or NaN unknown.
            backbone_features (`Tensor` of shape (B, D₀, H, W), *optional*): The backbone's map, instead of pictures.
            label_embeddings (`Tensor` of shape (C, D_t), *optional*): Text of other labels than the model's own, for
                this call alone; for `scorer="label"`.
            label_prototypes (`Tensor` of shape (C, D₀), *optional*): Their prototypes, where the model has prototypes.
            output_maps (`bool`, *optional*, defaults to `False`): Whether to return maps (B, C, H, W): semantic map,
                both transport plans, the prototypes' plan where there are prototypes, and region logits.
            output_label_features (`bool`, *optional*, defaults to `False`): Whether to return Fˢ (B, C, D).
            output_branches (`bool`, *optional*, defaults to `False`): Whether to return the logits that have a loss of
                their own, and the features that the pooled ones are made of.
            output_hidden_states (`bool`, *optional*): Whether to return the regions before and after each layer.

        Returns:
            `MultiLabelOutput`: loss and its parts where targets are given, logits (B, C), and what was asked for.

        Raises:
            ValueError: An input of a wrong shape, size or value.
        """
        label_weights = None
        if labels is not None:
            pictures = pixel_values if backbone_features is None else backbone_features
            self.check_targets(labels, 0 if pictures is None else len(pictures))
            label_weights = known_targets(labels)[1]  # (B, C)
        out = self.sct(
            pixel_values,
            label_weights,
            backbone_features=backbone_features,
            label_embeddings=label_embeddings,
            label_prototypes=label_prototypes,
            output_backward_plan=output_maps,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        plan = _as_regions(out.transport_plan)  # (B, P, C)
        region_scores = self.scorer(out.last_hidden_state, out.label_features, plan)  # (B, P, C)
        prototype_plan = None if out.prototype_plan is None else _as_regions(out.prototype_plan)  # (B, P, C)
        region_logits = aggregate(region_scores, prototype_plan, self.config.prototype_pooling)  # (B, C)
        pooled_logits = None
        if self.pooled_scorer is not None:
            pooled_logits = self.pooled_scorer(out.pooled_features, out.label_features)  # (B, C)
        map_logits = out.map_logits if self.config.fuse_map_scores else None  # (B, C)
        kinds = [scores for scores in (region_logits, map_logits, pooled_logits) if scores is not None]
        branches = {"region": region_logits, "map": out.map_logits, "pooled": pooled_logits}
        logits = sum(kinds[1:], kinds[0]) / len(kinds)  # (B, C)

        loss = losses = None
        if labels is not None:
            config = self.config
            focus: Any = {"gamma_neg": config.gamma_neg, "gamma_pos": config.gamma_pos, "clip": config.clip}
            losses = {
                "classification": asymmetric_loss(region_logits, labels, **focus),
                "semantic": asymmetric_loss(out.map_logits, labels, **focus),
                "transport": out.transport_loss,
            }
            loss = (
                losses["classification"]
                + config.semantic_loss_weight * losses["semantic"]
                + config.transport_loss_weight * losses["transport"]
            )
            if pooled_logits is not None:
                losses["pooled"] = asymmetric_loss(pooled_logits, labels, **focus)
                loss = loss + losses["pooled"]
        return MultiLabelOutput(
            loss=loss,
            logits=logits,
            losses=losses,
            semantic_map=out.semantic_map if output_maps else None,
            transport_plan=out.transport_plan if output_maps else None,
            backward_plan=out.backward_plan,
            prototype_plan=out.prototype_plan if output_maps else None,
            region_logits=_as_map(region_scores, out.semantic_map.shape[2:]) if output_maps else None,
            label_features=out.label_features if output_label_features else None,
            branch_logits={name: each for name, each in branches.items() if each is not None}
            if output_branches
            else None,
            pooled_features=out.pooled_features if output_branches else None,
            hidden_states=out.hidden_states,
        )

    def set_labels(
        self,
        names: list[str],
        embeddings: Tensor,
        recipe: dict[str, Any] | None = None,
        prototypes: Tensor | None = None,
    ) -> None:
        """Change the labels: the embeddings in the checkpoint, `id2label` and `label2id` together.

        Args:
            names (`list[str]`): The labels' names, each once.
            embeddings (`Tensor` of shape (C, D_t)): Their text embeddings, any float dtype.
            recipe (`dict`, *optional*): How the embeddings were made, kept as `config.label_text`.
            prototypes (`Tensor` of shape (C, D₀), *optional*): Their prototypes, needed where the checkpoint has
                prototypes (`config.label_prototypes`), see `sct_hf.make_label_prototypes`.

        Raises:
            ValueError: A name twice, embeddings or prototypes of another count or width, prototypes missing or given
                to a checkpoint without them, or another number of labels than the weights of a linear scorer have.
        """
        names = list(names)
        count = len(self.config.label_names)
        if len(set(names)) != len(names):
            raise ValueError(f"names repeat {sorted({n for n in names if names.count(n) > 1})}: give each label once.")
        self.sct.check_label_text(len(names), embeddings, prototypes)
        if self.config.scorer == "linear" and len(names) != count:
            raise ValueError(
                f"{len(names)} names for the {count} labels of a linear scorer, whose weights are bound to them: "
                "train with scorer='label' to change the number of labels, or make a new model."
            )
        if prototypes is not None:
            self.sct.label_prototypes = prototypes.detach().to(self.sct.label_prototypes, copy=True)
        self.sct.label_embeddings = embeddings.detach().to(self.sct.label_embeddings, copy=True)
        self.config.thresholds = None  # they belonged to the former labels
        self.config.id2label = dict(enumerate(names))
        self.config.label2id = {name: index for index, name in enumerate(names)}
        self.config.label_text = recipe


def _as_map(regions: Tensor, grid: torch.Size) -> Tensor:
    return regions.transpose(1, 2).unflatten(2, tuple(grid))  # (B, P, C) → (B, C, H, W)


def _as_regions(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)  # (B, C, H, W) → (B, P, C)


__all__ = ["SCTForMultiLabelClassification", "SCTModel", "SCTPreTrainedModel"]
