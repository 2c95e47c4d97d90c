"""SCT: semantic-aware representation learning via conditional transport, for multi-label image classification.

A reconstruction from the abstract and a summary of arXiv 2507.14918; docs/method.md gives the source of each part.
Shapes: B images, P = H·W regions, C labels, D₀ backbone width, D feature width, D_t label-text width.
"""

import math
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .backbone_sct import BackbonePreTrainedModel, TimmBackbone, sine_positions, split_levels
from .configuration_sct import SCTConfig
from .hierarchy_sct import LabelParents, make_hierarchy, plan_of_prototypes
from .layers_sct import (
    EncoderLayer,
    FineMap,
    LabelScores,
    PooledScorer,
    RegionScorer,
    SemanticFeatures,
    SemanticMap,
    TextScores,
    WeightsOnly,
    aggregate,
)
from .outputs_sct import Match, MultiLabelOutput, SCTModelOutput, Seen, asymmetric_loss, known_targets, weighted_sum
from .transport_sct import cosine_similarity, full_precision, plan_logits, slices, tau, transport_loss, transport_plan
from .vocabulary_sct import (
    LabelTexts,
    Vocabulary,
    check_label_text,
    describe_new_labels,
    encode_new_labels,
    make_vocabulary,
)


class SCTPreTrainedModel(BackbonePreTrainedModel):
    """Base class of the SCT models."""

    config_class = SCTConfig
    config: SCTConfig
    base_model_prefix = "sct"
    _keep_in_fp32_modules_strict = ["log_temperature"]
    _no_split_modules = ["SCTModel", "TimmBackbone", "EncoderLayer"]  # accelerate finds no place for a part's buffers
    gives_maps = True

    @property
    def takes_new_labels(self) -> bool:  # type: ignore[override]
        """Whether labels can be given at run time, see `vocabulary`."""
        return self.config.scorer == "label"

    scores_in_parts = takes_new_labels

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, SCTModel):
            init.constant_(module.log_temperature, math.log(self.config.temperature))
            init.normal_(module.label_embeddings)
            for given_later in (module.label_prototypes, module.class_vectors, module.seen_embeddings):
                if given_later is not None:
                    init.zeros_(given_later)
        elif isinstance(module, LabelScores | TextScores):
            init.zeros_(module.bias)
        else:
            super()._init_weights(module)


class SCTModel(SCTPreTrainedModel):
    """Regions, label features and the transport between them: all of SCT except the scores."""

    _keys_to_ignore_on_load_unexpected = [r"^(pooled_)?scorer\."]

    def __init__(self, config: SCTConfig) -> None:
        super().__init__(config)
        self.backbone = TimmBackbone(config)
        num_features, fine, count = self.backbone.num_features, self.backbone.fine_features, len(config.label_names)
        dim = config.hidden_size or num_features
        if dim % 4 or dim % config.encoder_attention_heads:
            raise ValueError(
                f"The width of regions is {dim} (hidden_size={config.hidden_size}): set hidden_size to a multiple of "
                f"4 and of encoder_attention_heads={config.encoder_attention_heads}."
            )
        self.hidden_size = dim
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.region_proj = nn.Linear(num_features, dim) if config.hidden_size else nn.Identity()
        self.region_norm = nn.LayerNorm(dim) if config.hidden_size else nn.Identity()
        self.encoder = nn.ModuleList(EncoderLayer(dim, config) for _ in range(config.encoder_layers))
        self.semantic_features = SemanticFeatures(dim, config)
        self.semantic_map = SemanticMap(num_features, dim, config)
        self.fine_map = FineMap(num_features, fine, config) if fine else None
        self.log_temperature = nn.Parameter(torch.zeros((), dtype=torch.float32))
        self.label_embeddings: Tensor
        self.register_buffer("label_embeddings", torch.zeros(count, config.label_embedding_size))
        self.label_prototypes: Tensor | None  # (C, D₀), or with `class_vectors` (K, D₀) shares (C, K) of them
        self.class_vectors: Tensor | None
        self.seen_embeddings: Tensor | None
        classes, seen, width = config.class_count, config.seen_labels, config.label_embedding_size
        prototypes = torch.zeros(count, classes or num_features) if config.label_prototypes else None
        self.register_buffer("label_prototypes", prototypes)
        self.register_buffer("class_vectors", torch.zeros(classes, num_features) if classes else None)
        self.register_buffer("seen_embeddings", None if seen is None else torch.zeros(len(seen), width))
        self._kept_vocabulary = WeightsOnly()
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        backbone_features: Tensor | None = None,
        vocabulary: Vocabulary | None = None,
        output_hidden_states: bool | None = None,
        output_match: bool = False,
    ) -> SCTModelOutput | Match:
        """Compute regions, label features and transport; arguments as in `SCTForMultiLabelClassification`.

        With `output_match` it returns a `Match`, with regions as rows.
        """
        match = self.compare(self.region_features(pixel_values, backbone_features), vocabulary or self.vocabulary())
        if output_match:
            return match
        states = match.regions if self._wants_states(output_hidden_states) else None
        named = {"label_features": match.label_features, "pooled_features": match.pooled_features, **match.maps()}
        return SCTModelOutput(last_hidden_state=match.regions[-1], hidden_states=states, **named)

    def region_features(self, pixel_values: Tensor | None, backbone_features: Tensor | None) -> Seen:
        """The backbone's features, and regions before and after each layer, of images or their backbone maps."""
        joined = self.feature_map(pixel_values, backbone_features)  # (B, D₀ + 4·D_f, H, W)
        features, fine = split_levels(joined, self.backbone.num_features)  # (B, D₀, H, W)
        grid, features = features.shape[-2:], features.flatten(2).transpose(1, 2)  # (B, P, D₀)
        regions = [self.region_norm(self.region_proj(self.input_dropout(features)))]  # (B, P, D)
        dim, device = self.hidden_size, features.device
        positions = sine_positions(grid[0], grid[1], dim, device) if self.encoder else None  # (P, D)
        for layer in self.encoder:
            regions.append(layer(regions[-1], positions))  # (B, P, D)
        return Seen(features, fine, tuple(regions), grid)

    def compare(self, seen: Seen, vocabulary: Vocabulary) -> Match:
        """Compare regions from `region_features` with labels: semantic map M, and the plans that it guides."""
        features, fine, regions, grid = seen
        label_features = self.label_features(regions[-1].mean(dim=1), vocabulary)  # (B, C, D)
        semantic_map = self.semantic_map(features, label_features, vocabulary.prototypes, vocabulary.familiarity)
        fine_map = None if self.fine_map is None else self.fine_map(features, grid, fine, vocabulary.centred)
        log_prior = self.log_prior(semantic_map)  # (B, P, C)
        temperature = self.log_temperature.exp()
        similarity = cosine_similarity(regions[-1], label_features)  # (B, P, C)
        plan, backward_plan = (transport_plan(similarity, temperature, log_prior, None, dim=dim) for dim in (2, 1))
        prototype_plan, pooling = None, backward_plan  # (B, P, C)
        if vocabulary.prototypes is not None:
            prototype_plan = plan_of_prototypes(features, vocabulary.prototypes)  # (B, P, C)
            pooling = torch.lerp(backward_plan, prototype_plan, self.config.prototype_pooling)
        made: tuple[Any, ...] = (label_features, semantic_map, log_prior, fine_map, similarity, temperature)
        return Match(*seen, vocabulary, *(*made, plan, backward_plan, prototype_plan, pooling))

    def log_prior(self, semantic_map: Tensor) -> Tensor | None:
        """The log-prior M (B, P, C), without gradient; a plan's softmax cancels its difference from log softmax."""
        return full_precision(semantic_map.detach())

    def label_features(self, image_feature: Tensor, vocabulary: Vocabulary) -> Tensor:
        """Semantic-related label features (B, C, D) of global image features (B, D)."""
        return self.semantic_features(vocabulary.embeddings, image_feature)

    def vocabulary(self, embeddings: Tensor | None = None, prototypes: Tensor | None = None) -> Vocabulary:
        """The checkpoint's labels, or others for one call of `forward`.

        Args:
            embeddings (`Tensor` of shape (C, D_t), *optional*): Text embeddings of other labels, for `scorer="label"`.
            prototypes (`Tensor` of shape (C, D₀) or (C, K), *optional*): Their prototypes, if the model uses
                prototypes: shares of K classes if it holds class vectors.

        Raises:
            ValueError: The scorer is linear, shapes do not fit, or prototypes are missing.
        """
        held, seen = self.label_embeddings, self.seen_embeddings
        trained = held if seen is None else seen
        if embeddings is None and prototypes is None:
            own = (held, self.label_prototypes, trained, self.config, True, self.class_vectors)
            weights = [each for each in own if isinstance(each, Tensor)]
            return self._kept_vocabulary(lambda: make_vocabulary(*own), weights, self.config.familiarity_threshold)
        if embeddings is None:
            raise ValueError("prototypes are given without embeddings: give both.")
        if not self.takes_new_labels:
            raise ValueError(
                "embeddings are given to a linear scorer, whose weights are bound to its labels: use a checkpoint "
                "trained with scorer='label'."
            )
        check_label_text(len(embeddings), embeddings, prototypes, self.config, self.backbone.num_features)
        prototypes = None if prototypes is None else prototypes.to(held)
        return make_vocabulary(embeddings.to(held), prototypes, trained, self.config, False, self.class_vectors)


class SCTForMultiLabelClassification(SCTPreTrainedModel):
    """SCT with its scores and losses: images to one logit per label."""

    base_model_class: type[SCTModel] = SCTModel
    sct: SCTModel

    def __init__(self, config: SCTConfig) -> None:
        super().__init__(config)
        self.sct = self.base_model_class(config)
        self.scorer = RegionScorer(self.sct.hidden_size, config)
        self.pooled_scorer = PooledScorer(self.sct.backbone.num_features, self.sct.hidden_size, config)
        self.hierarchy = make_hierarchy(config.label_parents, config.label_names)
        self.post_init()
        self._keys_to_ignore_on_load_unexpected = set()  # the base model's, that has no scorer, are not this one's

    @property
    def backbone(self) -> TimmBackbone:
        """The timm backbone."""
        return self.sct.backbone

    def pipeline(self, image_processor: Any, **options: Any) -> Any:
        """Make the tagging pipeline of this model in memory; `transformers.pipeline` needs a folder."""
        from .pipeline_sct import MultiLabelImageClassificationPipeline  # so that transformers copies its file too

        placed: dict[str, Any] = {} if getattr(self, "hf_device_map", None) else {"device": self.device}
        return MultiLabelImageClassificationPipeline(model=self, image_processor=image_processor, **placed | options)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        backbone_features: Tensor | None = None,
        vocabulary: Vocabulary | None = None,
        output_maps: bool = False,
        output_hidden_states: bool | None = None,
    ) -> MultiLabelOutput:
        """Score images; with targets, also compute the loss.

        Args:
            pixel_values (`Tensor` of shape (B, 3, S_h, S_w), *optional*): Normalised images.
            labels (`Tensor` of shape (B, C), *optional*): Targets: 1, 0, soft values in [0, 1], −1 or NaN unknown.
            backbone_features (`Tensor` of shape (B, D₀, H, W), *optional*): The backbone's map, instead of images.
            vocabulary (`Vocabulary`, *optional*): Other labels than the checkpoint's for this call, see `vocabulary`.
                The model's hierarchy does not apply to them.
            output_maps (`bool`, *optional*, defaults to `False`): Whether to return maps (B, C, H, W).
            output_hidden_states (`bool`, *optional*): Whether to return the regions before and after each layer.

        Raises:
            ValueError: An input has a wrong shape, size or value.
        """
        match = self.match(pixel_values, backbone_features, vocabulary)
        branches = self.branches(match, match.vocabulary)  # {"region", "map", "pooled"}: (B, C) each
        logits = self.fuse(branches, match.vocabulary)  # (B, C)
        loss = losses = None
        if labels is not None:
            losses = self.losses(branches, match, labels)
            loss = weighted_sum(losses, self.loss_weights)
        logits = self.finish(logits, match.vocabulary)  # (B, C)
        more: dict[str, Any] = match.maps() if output_maps else {}
        if self._wants_states(output_hidden_states):
            more["hidden_states"] = match.regions
        return MultiLabelOutput(loss=loss, logits=logits, losses=losses, branch_logits=branches, **more)

    def match(
        self, pixel_values: Tensor | None, backbone_features: Tensor | None, vocabulary: Vocabulary | None = None
    ) -> Match:
        """Match images, or their backbone maps, with labels, and score each region."""
        return self._scored(self.sct(pixel_values, backbone_features, vocabulary, output_match=True))

    def _scored(self, match: Match, aligned: Tensor | None = None) -> Match:
        """Add region scores to a match; `aligned` (B, P, 2D) are label features moved to regions, if given."""
        seen = (match.regions[-1], match.label_features, match.plan, match.vocabulary.centred)
        return replace(match, region_scores=self.scorer(*seen, aligned))

    def branches(self, match: Match, vocabulary: Vocabulary) -> dict[str, Tensor]:
        """Logits (B, C) by regions, by map and by pooled features, with evidence in each; and by the finer map."""
        plan, share, centred = match.prototype_plan, self.config.prototype_pooling, vocabulary.centred
        branches = {
            "region": aggregate(cast(Tensor, match.region_scores), plan, share),
            "map": self.sct.semantic_map.pool(match.semantic_map, plan),
            "pooled": self.pooled_scorer.by_regions(match.features, match.pooling, match.label_features, centred),
        }
        branches = vocabulary.with_evidence(branches, match.features)
        fine = self.sct.fine_map
        return branches if fine is None else branches | {"fine": fine.pool(cast(Tensor, match.fine_map))}

    def fuse(self, branches: dict[str, Tensor], vocabulary: Vocabulary) -> Tensor:
        """Logits (B, C): the mean of the branches. Unfamiliar labels use the map only."""
        first, *others = branches.values()
        logits = sum(others, first) / len(branches)
        if vocabulary.familiarity is None:
            return logits
        return torch.lerp(branches["map"], logits, vocabulary.familiarity.to(logits.dtype))

    def losses(self, branches: dict[str, Tensor], match: Match, labels: Tensor, **focus: Any) -> dict[str, Tensor]:
        """The asymmetric loss of each branch on targets (B, C), and the transport cost; unweighted scalars.

        `focus` has arguments of `asymmetric_loss`; missing ones come from the configuration.
        """
        self.check_targets(labels, branches["region"].shape)
        losses = {
            name: asymmetric_loss(each, labels, **(self.config.focus | focus)) for name, each in branches.items()
        }
        options: Any = {"region_log_prior": match.log_prior, "label_log_prior": match.log_prior}
        options |= {"label_weights": known_targets(labels)[1], "temperature": match.temperature}
        return losses | {"transport": transport_loss(match.similarity, **options, rho=self.config.rho)}

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weights of losses by name; a missing one is 1."""
        return {"map": self.config.semantic_loss_weight, "transport": self.config.transport_loss_weight}

    def finish(self, logits: Tensor, vocabulary: Vocabulary) -> Tensor:
        """Apply the hierarchy to logits (B, C) of the checkpoint's labels in evaluation; leave others unchanged."""
        if self.hierarchy is None or self.training or not vocabulary.own:
            return logits
        return self.hierarchy(logits)

    def vocabulary(self, *args: Any, **kwargs: Any) -> Vocabulary:
        """As `SCTModel.vocabulary`."""
        return self.sct.vocabulary(*args, **kwargs)

    def score_in_parts(
        self, pixel_values: Any = None, backbone_features: Any = None, *, vocabulary: Vocabulary, size: int
    ) -> Tensor:
        """Logits (B, C) of very many labels, with `size` labels in memory at a time.

        A label's score depends on the others only through the forward plan, which divides each region among all
        labels. A first pass over the labels computes that plan's effect with a running softmax; a second one scores.

        Raises:
            ValueError: The scorer is linear, or the size is below 1.
        """
        if size < 1 or not self.scores_in_parts:
            raise ValueError(f"size={size} cannot be used: give one >= 1, to scorer='label' without label attention.")
        seen = self.sct.region_features(pixel_values, backbone_features)
        parts = [vocabulary[k] for k in slices(len(vocabulary), size)]
        mass = brought = None  # (B, P, 1), (B, P, 2D): log Σ exp of the plan's logits so far, and what it brings
        for part in parts:
            match = self.sct.compare(seen, part)
            logits = plan_logits(match.similarity, tau(match.temperature, match.similarity), match.log_prior)
            more = logits.logsumexp(2, keepdim=True)
            aligned = full_precision(self.scorer.align(match.plan, match.label_features))
            total = more if mass is None else torch.logaddexp(mass, more)
            brought = aligned if brought is None else torch.lerp(brought, aligned, (more - total).exp())
            mass = total
        scores, brought = [], cast(Tensor, brought).to(seen.regions[-1].dtype)
        for part in parts:
            match = self._scored(self.sct.compare(seen, part), brought)
            scores.append(self.fuse(self.branches(match, part), part))
        return self.finish(torch.cat(scores, dim=1), vocabulary)

    def set_labels(
        self,
        names: LabelTexts,
        embeddings: Tensor | None = None,
        recipe: dict[str, Any] | None = None,
        prototypes: Tensor | None = None,
        label_parents: LabelParents | None = None,
        *,
        label_encoder: str | None = None,
        label_templates: list[str] | None = None,
        to_train: bool = False,
    ) -> None:
        """Change the labels: the embeddings in the checkpoint, `id2label` and `label2id` together.

        Thresholds and hierarchy of the former labels are removed. Without `embeddings`, `encode_new_labels` makes
        embeddings and prototypes with the checkpoint's own encoder. `config.seen_labels` keeps the labels of training.

        Args:
            names (`list[str]`, or `dict` of texts by name): The labels' names, each once. A dict gives texts to embed
                instead of the names.
            embeddings (`Tensor` of shape (C, D_t), *optional*): Their text embeddings, any float dtype.
            recipe (`dict`, *optional*): How the embeddings were made, kept as `config.text_recipe`.
            prototypes (`Tensor`, *optional*): Their prototypes, if the checkpoint uses them; see `vocabulary`.
            label_parents (`dict[str, list[str]]`, *optional*): Their hierarchy, see `set_hierarchy`.
            label_encoder (`str`, *optional*): Text encoder; needed if `config.text_recipe` does not name a usable one.
            label_templates (`list[str]`, *optional*): Prompts such as `"a photo of a {}"`; their vectors are averaged.
            to_train (`bool`, *optional*, defaults to `False`): Whether training on these labels follows.

        Raises:
            ValueError: Names repeat, their number differs from a linear scorer's, or embeddings, prototypes or
                hierarchy do not fit them.
        """
        config, sct = self.config, self.sct
        if embeddings is None:
            embeddings, prototypes = encode_new_labels(names, self, label_encoder, label_templates)
            recipe = describe_new_labels(names, config, label_templates)
        names = list(names)
        self.check_names(names, len(names) if self.takes_new_labels else self.num_labels, label_parents)
        check_label_text(len(names), embeddings, prototypes, config, self.backbone.num_features)
        if to_train:
            config.seen_labels = sct.seen_embeddings = None
        elif config.seen_labels is None and names != config.label_names and not self.label_text_lost:
            config.seen_labels, sct.seen_embeddings = config.label_names, sct.label_embeddings
        if prototypes is not None:
            sct.label_prototypes = prototypes.detach().to(sct.label_prototypes, copy=True)
        sct.label_embeddings = embeddings.detach().to(sct.label_embeddings, copy=True)
        self.rename_labels(names, recipe, label_parents)


__all__ = ["SCTForMultiLabelClassification", "SCTModel", "SCTPreTrainedModel"]
