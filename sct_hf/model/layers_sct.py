"""The layers of SCT: regions in context, semantic-related label features, region scorers."""

from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_sct import SCTConfig
from .outputs_sct import ALL, aggregate, as_map, in_parts, pool_features, scored_at_once
from .transport_sct import full_precision, outnumbered

_FINE_WIDTH = 64
_PROTOTYPE_SCALE = 0.5  # weight of the prototypes' scores in the semantic map; this project's choice


class WeightsOnly:
    """Cache of the last result of a function of weights, valid while the weights stay the same.

    It is used only without compilation and export, and where no weight takes part in gradients. Other tensors,
    in-place changes that autograd counts, other settings, and another dtype, device, autocast or inference mode
    recompute the result. Writes through `.data` are not detected; call `clear` after them. Copies and pickles are
    empty.
    """

    def __init__(self) -> None:
        self._kept: tuple[Any, list[Tensor], Any] | None = None

    def __call__(self, compute: Callable[[], Any], weights: Sequence[Tensor], *settings: Any) -> Any:
        """Return the result of `compute`, from the cache if `weights`, settings and modes are unchanged."""
        learned = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in weights)
        if torch.compiler.is_compiling() or learned or not all(map(_countable, weights)):
            return compute()
        device = weights[0].device.type
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        modes = (autocast, torch.is_inference_mode_enabled(), settings)  # autograd refuses tensors of inference mode
        key = (modes, [(t.data_ptr(), t._version, t.dtype, t.device, t.shape, t.stride()) for t in weights])
        kept = self._kept  # read once: another thread may replace it meanwhile
        if kept is None or kept[0] != key:
            # Aliases keep the storages, so that no later tensor can come to lie at the same address.
            kept = self._kept = (key, [tensor.detach() for tensor in weights], compute())
        return kept[2]

    def clear(self) -> None:
        """Forget the result."""
        self._kept = None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()


def _countable(tensor: Tensor) -> bool:
    """Whether changes of a tensor can be detected: it owns its memory and has a version counter."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.device.type != "meta" and tensor.numel() > 0
    return plain and not tensor.is_inference()


def _plain(layer: nn.Linear) -> bool:
    """Whether the layer computes with its plain weight: no adapter, not quantised, not offloaded."""
    own = type(layer.weight) is nn.Parameter or torch.compiler.is_exporting()  # an exporter puts a type of its own
    return type(layer) is nn.Linear and own and not layer.weight.is_meta


class EncoderLayer(GradientCheckpointingLayer):
    """A post-norm transformer encoder layer with ReLU. Positions are added to queries and keys only.

    Args:
        dim (`int`): Width D of the tokens, a multiple of the number of heads.
        config (`SCTConfig`): Source of heads, feed-forward width and dropout.
    """

    def __init__(self, dim: int, config: SCTConfig) -> None:
        super().__init__()
        self.num_heads = config.encoder_attention_heads
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.ffn_in, self.ffn_out = nn.Linear(dim, config.encoder_ffn_dim), nn.Linear(config.encoder_ffn_dim, dim)
        self.attention_norm, self.ffn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """Map tokens (B, N, D), with positions (N, D) or none, to tokens (B, N, D)."""
        placed = tokens if positions is None else tokens + positions.to(tokens.dtype)
        query, key, value = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, N, D / heads)
            for layer, x in ((self.query, placed), (self.key, placed), (self.value, tokens))
        )
        dropout = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout).transpose(1, 2).flatten(2)
        tokens = self.attention_norm(tokens + self.dropout(self.out(mixed)))  # (B, N, D)
        hidden = self.dropout(F.relu(self.ffn_in(tokens)))  # (B, N, ffn)
        return self.ffn_norm(tokens + self.dropout(self.ffn_out(hidden)))


class SemanticFeatures(nn.Module):
    """Semantic-related features Fˢ = W₂·GELU(BN(W₁·[E ; x_g])).

    Each label embedding is divided by its root mean square, so that text and image have equal weight with any encoder.
    W₁·[E ; x_g] is computed as W₁ᴱ·E + W₁ᵍ·x_g. The result is the same, but the first term is computed once per batch,
    and only once in evaluation.

    Args:
        dim (`int`): Width D.
        config (`SCTConfig`): Source of the width D_t of label embeddings.
    """

    def __init__(self, dim: int, config: SCTConfig) -> None:
        super().__init__()
        fused = config.label_embedding_size + dim
        self.text_proj = nn.Linear(config.label_embedding_size, fused)
        self.image_proj = nn.Linear(dim, fused, bias=False)
        self.norm = nn.BatchNorm1d(fused)
        self.out = nn.Linear(fused, dim)
        self._kept_text = WeightsOnly()

    def train(self, mode: bool = True) -> Self:
        """Set the mode and clear the cache."""
        self._kept_text.clear()
        return super().train(mode)

    def forward(self, label_embeddings: Tensor, image_feature: Tensor) -> Tensor:
        """Fuse label embeddings (C, D_t) with image features (B, D) into label features (B, C, D)."""
        if _plain(self.text_proj):
            weights = (label_embeddings, self.text_proj.weight, self.text_proj.bias)
            text = self._kept_text(lambda: self._text(label_embeddings), weights)  # (C, D_t + D)
        else:  # an adapter has further weights, can be switched off, and is merged by a write that goes unseen
            self._kept_text.clear()
            text = self._text(label_embeddings)  # (C, D_t + D)
        image = self.image_proj(image_feature)  # (B, D_t + D)
        if not scored_at_once(image, text):
            text, image = self._normalised(text, image)
            return in_parts(lambda _, part: self.out(F.gelu(part + image.unsqueeze(1))), image, text)
        fused = text + image.unsqueeze(1)  # (B, C, D_t + D)
        return self.out(F.gelu(self.norm(fused.flatten(0, 1)).unflatten(0, fused.shape[:2])))

    def _normalised(self, text: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Terms (C, F) and (B, F) whose sums are the normalised sums of two such: means and variances add up."""
        norm, dtype = cast(Any, self.norm), image.dtype
        text, image = full_precision(text), full_precision(image)
        mean, variance = norm.running_mean, norm.running_var
        if norm.training:
            moments = (torch.var_mean(each, 0, correction=0) for each in (text, image))
            variance, mean = (one + other for one, other in zip(*moments, strict=True))  # (D_t + D,) each
        if norm.training and norm.track_running_stats:
            unbiased = variance / (1 - 1 / (len(text) * len(image)))
            for kept, value in ((norm.running_mean, mean), (norm.running_var, unbiased)):
                kept.lerp_(value.detach().to(kept), norm.momentum)
            norm.num_batches_tracked.add_(1)
        scale = norm.weight * (variance + norm.eps).rsqrt()
        return ((text - mean) * scale + norm.bias).to(dtype), (image * scale).to(dtype)

    def _text(self, label_embeddings: Tensor) -> Tensor:
        return self.text_proj(F.rms_norm(label_embeddings, label_embeddings.shape[-1:]))


class LinearScores(nn.Module):
    """Score tokens with one weight vector per label.

    Args:
        token_dim (`int`): Width of the tokens.
        dim (`int`): Width of label features or text; unused.
        num_labels (`int`): Labels C.
    """

    def __init__(self, token_dim: int, dim: int, num_labels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(token_dim, num_labels)

    def forward(self, tokens: Tensor, label_features: Tensor) -> Tensor:
        """Score tokens (B, P, N) to (B, P, C)."""
        return self.proj(tokens)

    def own(self, tokens: Tensor, centred: Tensor, k: slice = ALL) -> Tensor:
        """Score one token for each of the labels k (B, c, N), each for its own label only, to (B, c)."""
        if not _plain(self.proj):
            return self.proj(tokens)[..., k].diagonal(dim1=1, dim2=2)
        # A product of matrices, since OpenVINO adds a bias wrongly to a plain sum over N where B > 1.
        return torch.einsum("bcn,cn->bc", tokens, self.proj.weight[k].to(tokens.dtype)) + self.proj.bias[k]


class LabelScores(nn.Module):
    """Score tokens with a scaled dot product with projected label features, for any number of labels.

    Args:
        token_dim (`int`): Width of the tokens.
        dim (`int`): Width D of the label features.
        num_labels (`int`): Labels C; no weight depends on it.
    """

    def __init__(self, token_dim: int, dim: int, num_labels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, token_dim)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, tokens: Tensor, label_features: Tensor) -> Tensor:
        """Score tokens (B, P, N) against label features (B, C, D) to (B, P, C)."""
        if outnumbered(tokens, label_features) and _plain(self.proj):  # the fewer are projected
            projected, shift = tokens @ self.proj.weight, tokens @ self.proj.bias  # (B, P, D), (B, P)
            scores = projected @ label_features.transpose(1, 2) + shift.unsqueeze(-1)  # (B, P, C)
        else:
            scores = tokens @ self.proj(label_features).transpose(1, 2)  # (B, P, C)
        return scores * tokens.shape[-1] ** -0.5 + self.bias


class TextScores(nn.Module):
    """Score tokens with a vector computed from each label's text, for any number of labels.

    The scale is such that one optimizer step moves a label's vector about as far as one of `LinearScores`.

    Args:
        token_dim (`int`): Width of the tokens.
        text_dim (`int`): Width D_t of the label text.
    """

    def __init__(self, token_dim: int, text_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(text_dim, token_dim)
        self.bias = nn.Parameter(torch.zeros(1))
        self.scale = (token_dim * text_dim) ** -0.5

    def forward(self, tokens: Tensor, centred: Tensor) -> Tensor:
        """Score tokens (B, P, N) against label text (C, D_t) to (B, P, C)."""
        return tokens @ self._vectors(centred).T + self.bias

    def own(self, tokens: Tensor, centred: Tensor, k: slice = ALL) -> Tensor:
        """Score one token for each of the labels k (B, c, N), each against its own text of (C, D_t), to (B, c)."""
        return torch.einsum("bcn,cn->bc", tokens, self._vectors(centred[k])) + self.bias

    def _vectors(self, centred: Tensor) -> Tensor:
        """Scaled before the product with tokens, which would not fit float16 (C, N)."""
        return self.proj(centred) * self.scale


def _label_vectors(token_dim: int, config: SCTConfig) -> "LinearScores | TextScores":
    """Make a scorer with one vector per label: a weight, or computed from text with `scorer="label"`."""
    if config.scorer == "linear":
        return LinearScores(token_dim, 0, len(config.label_names))
    return TextScores(token_dim, config.label_embedding_size)


SCORES: dict[str, type[LinearScores] | type[LabelScores]] = {"linear": LinearScores, "label": LabelScores}


class SemanticMap(nn.Module):
    """Semantic map M: scores of tokens, plus scores of label prototypes if there are any; and its pooling.

    Args:
        token_dim (`int`): Width of the tokens that M scores.
        dim (`int`): Width D of the label features.
        config (`SCTConfig`): Source of the kind of scorer, the number of labels and the prototypes' share in pooling.
    """

    def __init__(self, token_dim: int, dim: int, config: SCTConfig) -> None:
        super().__init__()
        self.scores = SCORES[config.scorer](token_dim, dim, len(config.label_names))
        self.prototype_pooling = config.prototype_pooling

    def forward(
        self, tokens: Tensor, label_features: Tensor, prototypes: Tensor | None, familiarity: Tensor | None = None
    ) -> Tensor:
        """Map tokens (B, P, N), label features (B, C, D) and prototypes (C, N) or none to M (B, P, C).

        `familiarity` (C,) multiplies the learned scores, but not the bias.
        """
        semantic_map = self.scores(tokens, label_features)
        if familiarity is not None:
            bias = cast(LabelScores, self.scores).bias
            semantic_map = torch.lerp(bias.to(semantic_map.dtype), semantic_map, familiarity.to(semantic_map.dtype))
        if prototypes is None:
            return semantic_map
        return semantic_map + _PROTOTYPE_SCALE * F.linear(tokens, prototypes.to(tokens.dtype))

    def pool(self, semantic_map: Tensor, prototype_plan: Tensor | None) -> Tensor:
        """Pool M (B, P, C) over regions, partly with the prototypes' plan (B, P, C), to float32 (B, C)."""
        semantic_map = full_precision(semantic_map)
        pooled = semantic_map.mean(1)  # (B, C)
        if prototype_plan is None:
            return pooled
        return torch.lerp(pooled, (prototype_plan * semantic_map).sum(1), self.prototype_pooling)


class FineMap(nn.Module):
    """Map F at the finer level: scores of the regions, enlarged bilinearly, plus w·GELU(3×3 convolution of f).

    f are the finer features, and w is the label's own vector; with `scorer="label"` the vectors are computed from the
    label's text. Prototypes have no part in it. Its form and its width of 64 are this project's.

    Args:
        num_features (`int`): Width D₀ of the backbone's features.
        fine_features (`int`): Width D_f of the finer level.
        config (`SCTConfig`): Source of the kind of scorer and the number of labels.
    """

    def __init__(self, num_features: int, fine_features: int, config: SCTConfig) -> None:
        super().__init__()
        self.region_scores = _label_vectors(num_features, config)
        self.conv = nn.Conv2d(fine_features, _FINE_WIDTH, 3, padding=1)
        self.scores = _label_vectors(_FINE_WIDTH, config)

    def forward(self, features: Tensor, grid: torch.Size, fine: Tensor, centred: Tensor) -> Tensor:
        """Map features (B, P, D₀), finer ones (B, D_f, 2·H, 2·W) and text (C, D_t) to F (B, 4·P, C)."""
        coarse = as_map(self.region_scores(features, centred), grid)  # (B, C, H, W)
        coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        normed = F.layer_norm(fine.movedim(1, -1), fine.shape[1:2]).movedim(-1, 1)  # (B, D_f, 2·H, 2·W)
        tokens = F.gelu(self.conv(normed)).flatten(2).transpose(1, 2)  # (B, 4·P, 64)
        return coarse.flatten(2).transpose(1, 2) + self.scores(tokens, centred)

    def pool(self, fine_map: Tensor) -> Tensor:
        """Pool F (B, 4·P, C) to float32 (B, C): half its mean, half its mean weighted by its softmax."""
        return in_parts(
            lambda _, part: torch.lerp(full_precision(part).mean(2), aggregate(part.transpose(1, 2)), 0.5),
            *(fine_map, fine_map.transpose(1, 2)),
        )


class RegionScorer(nn.Module):
    """Region scores R = W₄·Dropout(GELU(W₃·Fᴿ)) with Fᴿ = [π→·Fˢ ; X].

    W₃·[π→·Fˢ ; X] is computed as π→·(W₃ˢ·Fˢ) + W₃ˣ·X: the same result, but labels are projected instead of regions.
    In training the first term is dropped for some images, so that the second also learns to work alone.

    Args:
        dim (`int`): Width D.
        config (`SCTConfig`): Source of the kind of scorer, its dropout and the number of labels.
    """

    def __init__(self, dim: int, config: SCTConfig) -> None:
        super().__init__()
        self.label_proj = nn.Linear(dim, 2 * dim, bias=False)
        self.region_proj = nn.Linear(dim, 2 * dim)
        self.dropout = nn.Dropout(config.scorer_dropout)
        self.aligned_dropout = config.aligned_dropout
        self.scores = _label_vectors(2 * dim, config)

    def align(self, plan: Tensor, label_features: Tensor) -> Tensor:
        """Label features (B, C, D) moved to regions by a plan (B, P, C), projected: W₃ˢ·(π→·Fˢ), (B, P, 2D)."""
        plan = plan.to(label_features.dtype)
        many = outnumbered(plan, label_features)  # the fewer are projected
        return self.label_proj(plan @ label_features) if many else plan @ self.label_proj(label_features)

    def forward(
        self, regions: Tensor, label_features: Tensor, plan: Tensor, centred: Tensor, aligned: Tensor | None = None
    ) -> Tensor:
        """Score regions (B, P, D), plus the transported label features `aligned` (B, P, 2D) if given, to (B, P, C).

        With `scorer="label"` a label's vector is computed from its text (C, D_t).
        """
        aligned = self.align(plan, label_features) if aligned is None else aligned  # (B, P, 2D)
        if self.training and self.aligned_dropout:
            aligned = aligned * (torch.rand_like(aligned[:, :1, :1]) >= self.aligned_dropout)
        hidden = self.region_proj(regions) + aligned  # (B, P, 2D)
        return self.scores(self.dropout(F.gelu(hidden)), centred)


class PooledScorer(nn.Module):
    """Label scores w·Dropout(GELU(U·f_k + V·Fˢ_k)), where the backward plans pool features f_k for label k.

    w is the label's own vector; with `scorer="label"` it is computed from the label's text.

    Args:
        num_features (`int`): Width D₀ of the backbone's features.
        dim (`int`): Width D.
        config (`SCTConfig`): Source of the kind of scorer, its dropout and the number of labels.
    """

    def __init__(self, num_features: int, dim: int, config: SCTConfig) -> None:
        super().__init__()
        self.label_proj = nn.Linear(dim, 2 * dim, bias=False)
        self.pooled_proj = nn.Linear(num_features, 2 * dim)
        self.dropout = nn.Dropout(config.scorer_dropout)
        self.scores = _label_vectors(2 * dim, config)

    def forward(self, pooled_features: Tensor, label_features: Tensor, centred: Tensor) -> Tensor:
        """Score pooled features (B, C, D₀) with label features (B, C, D) and text (C, D_t) to float32 (B, C)."""
        return self._score(self.embed(pooled_features), label_features, centred)

    def by_regions(self, features: Tensor, pooling: Tensor, label_features: Tensor, centred: Tensor) -> Tensor:
        """As `forward`, from features (B, P, D₀) and the weights (B, P, C) that pool them."""
        if not outnumbered(features, label_features):
            return self(pool_features(pooling, features), label_features, centred)
        embedded = self.embed(features)  # (B, P, 2D): the fewer are projected

        def score(k: slice, pooling: Tensor, label_features: Tensor) -> Tensor:
            return self._score(pooling @ embedded, label_features, centred, k)

        return in_parts(score, features, pooling.transpose(1, 2).to(embedded.dtype), label_features)

    def _score(self, image: Tensor, label_features: Tensor, centred: Tensor, k: slice = ALL) -> Tensor:
        hidden = F.gelu(image + self.label_proj(label_features))  # (B, C, 2D)
        return full_precision(self.scores.own(self.dropout(hidden), centred, k))

    def embed(self, pooled_features: Tensor) -> Tensor:
        """The image's share of the label features: U·f (B, C, 2D) for f (B, C, D₀)."""
        return self.pooled_proj(pooled_features)


__all__ = ["EncoderLayer", "FineMap", "LabelScores", "PooledScorer", "RegionScorer", "SemanticFeatures", "SemanticMap"]
__all__ += ["TextScores", "WeightsOnly", "aggregate"]
