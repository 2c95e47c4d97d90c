"""Structure that is fixed in SCT and varied only in the ablation: each variant is a subclass and a named head.

`register_ablated` registers them. They have SCT's weights; weights that a variant does not use are not trained.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

from sct_hf.model.configuration_sct import SCTConfig, checked
from sct_hf.model.layers_sct import RegionScorer, SemanticMap
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification, SCTModel
from sct_hf.model.outputs_sct import Match
from sct_hf.model.transport_sct import full_precision
from sct_hf.model.vocabulary_sct import Vocabulary
from sct_hf.peers.registry import register_head

Variant = TypeVar("Variant", bound=type[SCTForMultiLabelClassification])

ABLATED: dict[str, type[SCTForMultiLabelClassification]] = {}
"""The variants by the name of the head."""


def _ablated(name: str) -> Callable[[Variant], Variant]:
    """Give a variant its own model type, by which transformers' Auto classes recognise its checkpoints."""

    def named(kind: Variant) -> Variant:
        text = f"Configuration of `{kind.__name__}`: that of SCT."
        config: Any = checked(type(f"{kind.__name__}Config", (SCTConfig,), {"model_type": name, "__doc__": text}))
        kind.config_class = config
        kind.base_model_class = type(f"{kind.__name__}Model", (kind.base_model_class,), {"config_class": config})
        ABLATED[name] = kind
        return kind

    return named


class _WithoutBranches(SCTForMultiLabelClassification):
    """SCT without some of its branches and their losses."""

    left_out: tuple[str, ...] = ()

    def branches(self, match: Match, vocabulary: Vocabulary) -> dict[str, Tensor]:
        """As `SCTForMultiLabelClassification.branches`."""
        scores = super().branches(match, vocabulary)
        return {name: score for name, score in scores.items() if name not in self.left_out}


@_ablated("sct_no_label_pooling")
class WithoutLabelPooling(_WithoutBranches):
    """No scores of the features that the backward plans pool for labels."""

    left_out = ("pooled",)


@_ablated("sct_region_scores")
class RegionScoresOnly(WithoutLabelPooling):
    """The semantic map is trained and guides transport, but its score is not averaged with that of the regions."""

    def fuse(self, branches: dict[str, Tensor], vocabulary: Vocabulary) -> Tensor:
        """As `SCTForMultiLabelClassification.fuse`."""
        return branches["region"]


@_ablated("sct_no_map_scores")
class WithoutMapScores(SCTForMultiLabelClassification):
    """The score of the semantic map is not averaged with the others."""

    def fuse(self, branches: dict[str, Tensor], vocabulary: Vocabulary) -> Tensor:
        """As `SCTForMultiLabelClassification.fuse`."""
        first, *others = (logits for name, logits in branches.items() if name != "map")
        return sum(others, first) / (1 + len(others))


class _AloneScorer(RegionScorer):
    def align(self, plan: Tensor, label_features: Tensor) -> Tensor:
        """Zeros (B, 1, 1) instead of pooled features."""
        return label_features.new_zeros(len(label_features), 1, 1)


@_ablated("sct_no_aligned")
class WithoutAlignedFeatures(SCTForMultiLabelClassification):
    """Regions are scored without transported label features."""

    def __init__(self, config: SCTConfig) -> None:
        super().__init__(config)
        self.scorer = _AloneScorer(self.sct.hidden_size, config)
        self.post_init()


@_ablated("sct_no_transport")
class WithoutTransport(WithoutAlignedFeatures, WithoutLabelPooling):
    """Neither of the two. With a transport loss of weight 0 and no pooling by prototypes, no plan is used."""


@_ablated("sct_fixed_temperature")
class FixedTemperature(SCTForMultiLabelClassification):
    """The temperature of the plans stays as it is initialised."""

    def __init__(self, config: SCTConfig) -> None:
        super().__init__(config)
        self.sct.log_temperature.requires_grad_(False)


class _UnguidedModel(SCTModel):
    def log_prior(self, semantic_map: Tensor) -> Tensor | None:
        """Return None: there is no guidance."""
        return None


@_ablated("sct_unguided")
class Unguided(SCTForMultiLabelClassification):
    """The semantic map does not guide transport."""

    base_model_class = _UnguidedModel


class _GradientModel(SCTModel):
    def log_prior(self, semantic_map: Tensor) -> Tensor:
        """M with its gradient."""
        return full_precision(semantic_map)


@_ablated("sct_guidance_gradient")
class GuidanceWithGradient(SCTForMultiLabelClassification):
    """The plans also train the semantic map that guides them."""

    base_model_class = _GradientModel


class _WithoutNormModel(SCTModel):
    def __init__(self, config: SCTConfig) -> None:
        super().__init__(config)
        self.region_norm = nn.Identity()


@_ablated("sct_no_norm")
class WithoutProjectionNorm(SCTForMultiLabelClassification):
    """Projected regions are not normalised."""

    base_model_class = _WithoutNormModel


class _MaximumMap(SemanticMap):
    def pool(self, semantic_map: Tensor, prototype_plan: Tensor | None) -> Tensor:
        """As `SemanticMap.pool`, with the maximum instead of the mean."""
        semantic_map = full_precision(semantic_map)
        pooled = semantic_map.amax(1)  # (B, C)
        if prototype_plan is None:
            return pooled
        return pooled.lerp((prototype_plan * semantic_map).sum(1), self.prototype_pooling)


class _MaximumModel(SCTModel):
    def __init__(self, config: SCTConfig) -> None:
        super().__init__(config)
        self.semantic_map = _MaximumMap(self.backbone.num_features, self.hidden_size, config)
        self.post_init()


@_ablated("sct_map_maximum")
class MapByMaximum(SCTForMultiLabelClassification):
    """The semantic map is pooled by its maximum over regions."""

    base_model_class = _MaximumModel


def register_ablated() -> None:
    """Make the variants heads, so that they train and their checkpoints load."""
    for name, kind in ABLATED.items():
        register_head(name)(kind)
