"""The base of SCT: regions, label features and the transport between them; `modeling_sct` scores labels by them."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .backbone_sct import TimmBackbone
from .configuration_sct import SCTConfig
from .known_labels_sct import LabelStates, check_known_labels
from .label_graph_sct import LabelMessages, check_label_graph
from .layers_sct import (
    EncoderLayer,
    LabelScores,
    SemanticFeatures,
    SemanticMap,
    TextScores,
    sine_positions,
)
from .outputs_sct import SCTModelOutput
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
            for given_later in (module.label_prototypes, module.label_graph):
                if given_later is not None:
                    init.zeros_(given_later)
        elif isinstance(module, LabelMessages):
            init.zeros_(module.weight)
        elif isinstance(module, LabelStates):
            init.normal_(module.embeddings)
        elif isinstance(module, LabelScores | TextScores):
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
        self.label_messages = LabelMessages(dim) if config.label_graph else None
        self.label_interaction = EncoderLayer(dim, config) if config.label_interaction else None
        self.label_states = LabelStates(dim) if config.label_states else None
        wide = self.backbone.num_features
        self.semantic_map = SemanticMap(wide if config.map_input == "features" else dim, dim, config)
        self.log_temperature = nn.Parameter(torch.zeros(()), requires_grad=config.learn_temperature)
        self.label_embeddings: Tensor
        self.register_buffer("label_embeddings", torch.zeros(len(config.label_names), config.label_embedding_size))
        self.label_prototypes: Tensor | None
        prototypes = torch.zeros(len(config.label_names), wide) if config.label_prototypes else None
        self.register_buffer("label_prototypes", prototypes)
        self.label_graph: Tensor | None
        count = len(config.label_names)
        self.register_buffer("label_graph", torch.zeros(count, count) if config.label_graph else None)
        self.seen_embeddings: Tensor | None
        seen = config.seen_labels
        self.register_buffer(
            "seen_embeddings", None if seen is None else torch.zeros(len(seen), config.label_embedding_size)
        )
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
        known_labels: Tensor | None = None,
        output_backward_plan: bool = True,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> SCTModelOutput:
        """Compute regions, label features and the transport between them.

        Args:
            pixel_values (`Tensor` of shape (B, 3, S_h, S_w), *optional*): Normalised images.
            label_weights (`Tensor` of shape (B, C), *optional*): q ≥ 0; if given, the transport loss is computed.
                The plans never depend on it.
            backbone_features (`Tensor` of shape (B, D₀, H, W), *optional*): The backbone's map, instead of images.
            label_embeddings (`Tensor` of shape (C, D_t), *optional*): Text of other labels than the model's own, which
                the model keeps. No messages pass between them (`label_graph`), as nobody counted them.
            label_prototypes (`Tensor` of shape (C, D₀), *optional*): Their prototypes, where the model has prototypes.
            known_labels (`Tensor` of shape (B, C), *optional*): What is known beforehand, where the model has
                `label_states`: 1 present, 0 absent, −1 or NaN unknown.
            output_backward_plan (`bool`, *optional*, defaults to `True`): Whether to return π←.
            output_hidden_states (`bool`, *optional*): Whether to return the regions before and after each layer.

        Returns:
            `SCTModelOutput`.

        Raises:
            ValueError: Images, embeddings, prototypes or known labels of a wrong shape, other labels of a linear
                scorer, or known labels of a model without states.
        """
        familiarity = self.familiarity(label_embeddings)  # (C,), or none
        graph = self.label_graph if label_embeddings is None else None  # (C, C), or none
        label_embeddings, label_prototypes = self.label_text(label_embeddings, label_prototypes)
        features, hidden_states, grid = self.region_features(pixel_values, backbone_features)
        regions = hidden_states[-1]  # (B, P, D)
        label_features, semantic_map = self.label_maps(
            features, regions, label_embeddings, label_prototypes, familiarity, graph, known_labels
        )
        prototype_plan = self.prototype_plan(features, label_prototypes)  # (B, P, C), or none

        log_prior = self.log_prior(semantic_map)  # (B, P, C), or none
        temperature = self.log_temperature.exp()
        similarity = cosine_similarity(regions, label_features)  # (B, P, C)
        plan = transport_plan(similarity, temperature, log_prior, None, dim=2)  # (B, P, C)
        backward_plan = transport_plan(similarity, temperature, log_prior, None, dim=1)  # (B, P, C)
        pooled_features = self.pooled_features(features, backward_plan, prototype_plan)  # (B, C, D₀), or none
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
            semantic_map=as_map(semantic_map, grid),
            map_logits=self.semantic_map.pool(semantic_map, prototype_plan),  # (B, C)
            pooled_features=pooled_features,
            transport_plan=as_map(plan, grid),
            backward_plan=as_map(backward_plan, grid) if output_backward_plan else None,
            prototype_plan=None if prototype_plan is None else as_map(prototype_plan, grid),
            transport_loss=loss,
            hidden_states=tuple(hidden_states) if wants_states else None,
        )

    def label_text(self, embeddings: Tensor | None, prototypes: Tensor | None) -> tuple[Tensor, Tensor | None]:
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

    def set_label_graph(self, graph: Tensor) -> None:
        """Give the labels their graph, such as `sct_hf.data.co_occurrence.label_graph` counts it.

        Args:
            graph (`Tensor` of shape (C, C)): P(label j | label i), any float dtype, with a diagonal of zeros.

        Raises:
            ValueError: A configuration without `label_graph`, or a graph that cannot be used.
        """
        if self.label_graph is None:
            raise ValueError("The model passes no messages between labels: make it with label_graph=True.")
        check_label_graph(graph, len(self.config.label_names))
        self.label_graph = graph.detach().to(self.label_graph, copy=True)

    def region_features(
        self, pixel_values: Tensor | None, backbone_features: Tensor | None
    ) -> tuple[Tensor, list[Tensor], torch.Size]:
        """The backbone's features (B, P, D₀), the regions (B, P, D) before and after each layer, and (H, W)."""
        features = self.feature_map(pixel_values, backbone_features)  # (B, D₀, H, W)
        grid = features.shape[-2:]
        features = features.flatten(2).transpose(1, 2)  # (B, P, D₀)
        regions = self.region_norm(self.region_proj(self.input_dropout(features)))  # (B, P, D)
        states = [regions]
        positions = (
            sine_positions(grid[0], grid[1], self.hidden_size, regions.device) if self.encoder else None
        )  # (P, D)
        for layer in self.encoder:
            regions = layer(regions, positions)  # (B, P, D)
            states.append(regions)
        return features, states, grid

    def label_maps(
        self,
        features: Tensor,
        regions: Tensor,
        embeddings: Tensor,
        prototypes: Tensor | None,
        familiarity: Tensor | None,
        graph: Tensor | None = None,
        known_labels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Label features (B, C, D) and semantic map (B, P, C) of features (B, P, D₀) and regions (B, P, D)."""
        label_features = self.semantic_features(embeddings, regions.mean(dim=1))  # (B, C, D)
        if known_labels is not None:
            check_known_labels(known_labels, label_features.shape[:2], self.config.label_states)
        if known_labels is not None and self.label_states is not None:
            label_features = self.label_states(label_features, known_labels)  # (B, C, D)
        if self.label_messages is not None and graph is not None:
            label_features = self.label_messages(label_features, graph)  # (B, C, D)
        if self.label_interaction is not None:
            label_features = self.label_interaction(label_features)  # (B, C, D)
        tokens = features if self.config.map_input == "features" else regions
        return label_features, self.semantic_map(tokens, label_features, prototypes, familiarity)

    @property
    def _trained_embeddings(self) -> Tensor:
        """Text (C, D_t) of the labels that the weights were trained on."""
        return self.label_embeddings if self.seen_embeddings is None else self.seen_embeddings

    def centred_text(self, embeddings: Tensor | None) -> Tensor:
        """Text (C, D_t), or that of the model's own labels, less the mean of the labels of training, each of unit RMS.

        What all labels have in common is taken out, so that one label's lesson is not all the others' (ours).
        """
        trained = self._trained_embeddings
        given = self.label_embeddings if embeddings is None else embeddings.to(trained)
        return F.rms_norm(given - trained.mean(0), given.shape[-1:])

    def familiarity(self, embeddings: Tensor | None) -> Tensor | None:
        """How much the weights know of labels with text `embeddings` (C, D_t), or of the model's own: (C,) in [0, 1].

        A label of training has 1, one whose text is like none of theirs 0: cosine of the embeddings less their mean in
        training, with the nearest label of training, above `familiarity_threshold` (ours). None where all are known
        or no prototypes stand in for what is not.
        """
        config = self.config
        if not (config.label_prototypes and config.scorer == "label" and config.familiarity_threshold):
            return None
        if embeddings is None and self.seen_embeddings is None:
            return None
        given, trained = self.centred_text(embeddings), self.centred_text(self._trained_embeddings)
        nearest = cosine_similarity(given[None], trained[None])[0].amax(1)  # (C,)
        return ((nearest - config.familiarity_threshold) / (1 - config.familiarity_threshold)).clamp(0, 1)

    def pooled_features(self, features: Tensor, backward_plan: Tensor, prototype_plan: Tensor | None) -> Tensor | None:
        """Features (B, C, D₀) that plans (B, P, C) back to regions bring to labels, where `label_pooling` asks."""
        if not self.config.label_pooling:
            return None
        weights = backward_plan  # (B, P, C)
        if prototype_plan is not None:
            weights = torch.lerp(weights, prototype_plan, self.config.prototype_pooling)
        return weights.transpose(1, 2).to(features.dtype) @ features

    def prototype_plan(self, features: Tensor, prototypes: Tensor | None) -> Tensor | None:
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

    def log_prior(self, semantic_map: Tensor) -> Tensor | None:
        """Guidance by M (B, P, C) [paper: guided by M; form: ours].

        The log-priors log softmax of M over regions and over labels differ from M by a constant along that dimension,
        which the softmax of either plan takes out again: M itself serves both.
        """
        if self.config.guidance == "none":
            return None
        return full_precision(semantic_map.detach() if self.config.guidance == "detached" else semantic_map)


def as_map(regions: Tensor, grid: torch.Size) -> Tensor:
    """Lay out what regions have (B, P, C) on their grid (H, W): (B, C, H, W)."""
    return regions.transpose(1, 2).unflatten(2, tuple(grid))


def as_regions(maps: Tensor) -> Tensor:
    """Undo `as_map`: (B, C, H, W) to (B, P, C)."""
    return maps.flatten(2).transpose(1, 2)


__all__ = ["SCTModel", "SCTPreTrainedModel", "as_map", "as_regions"]
