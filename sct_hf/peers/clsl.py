"""CLSL's structure as a head (He et al., arXiv 2510.10055): the baseline that shares layers with SCT."""

import torch.nn.functional as F
from torch import Tensor, nn

from sct_hf.model.backbone_sct import sine_positions
from sct_hf.model.configuration_sct import SCTConfig
from sct_hf.model.layers_sct import EncoderLayer, SemanticFeatures, aggregate
from sct_hf.model.transport_sct import full_precision
from sct_hf.peers.bilinear_attention import bilinear_scores
from sct_hf.peers.label_text_head import LabelTextHead
from sct_hf.peers.registry import register_head


@register_head("clsl")
class CLSLHead(LabelTextHead):
    """Label features aligned with regions by attention, and a semantic map with its own loss.

    From CLSL's paper and public code, of which nothing is copied:

    - X: a post-norm encoder layer over the regions, with sine positions on queries and keys
    - Fˢ = W₂·GELU(BN(W₁·[E ; x_g])): label text E with the mean region x_g
    - A[p, k] = a·P·tanh((U·x_p) ⊙ (V·Fˢ_k)): low-rank bilinear attention, softmax over the labels
    - R = W₄·Dropout(GELU(W₃·[softmax(A)·Fˢ ; X])), and the logit Σ_p softmax_p(R[·, k])·R[p, k]
    - the map M = W·X, pooled by its maximum, and the weight 0.8 of its loss; scores do not use it

    This project's choices: an optional projection of the regions to D = `hidden_size`; the asymmetric loss of the
    other heads, without CLSL's factor of 1000; label text of unit root mean square; no biases on P and a, since the
    softmax would cancel them. Recovery of unknown labels is a part of training.

    Args:
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
        label_embedding_size (`int`): Width D_t of the label embeddings.
        hidden_size (`int`, *optional*): Width D to which regions are projected, a multiple of 4 and of the number of
            heads. Without it, regions keep the backbone's width.
        attention_size (`int`, *optional*, defaults to 1024): Joint width of regions and label features in A.
        num_heads (`int`, *optional*, defaults to 8): Attention heads of the encoder layer.
        ffn_dim (`int`, *optional*, defaults to 2048): Width of its feed-forward block.
        dropout (`float`, *optional*, defaults to 0.1): Its dropout.
        scorer_dropout (`float`, *optional*, defaults to 0.5): Dropout before the region scores.
        map_loss_weight (`float`, *optional*, defaults to 0.8): Weight of the loss of the branch "map".
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        label_embedding_size: int,
        hidden_size: int | None = None,
        attention_size: int = 1024,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        dropout: float = 0.1,
        scorer_dropout: float = 0.5,
        map_loss_weight: float = 0.8,
    ) -> None:
        super().__init__()
        dim = hidden_size or num_features
        if dim % 4 or dim % num_heads:
            raise ValueError(
                f"the width of regions is {dim}: set hidden_size to a multiple of 4 and of num_heads={num_heads}"
            )
        if not map_loss_weight >= 0:
            raise ValueError(f"map_loss_weight={map_loss_weight} cannot be used: give a number >= 0")
        config = SCTConfig(
            encoder_attention_heads=num_heads,
            encoder_ffn_dim=ffn_dim,
            dropout=dropout,
            label_embedding_size=label_embedding_size,
        )
        self.branch_weights = {"map": map_loss_weight}
        self.region_proj = nn.Linear(num_features, dim) if hidden_size else nn.Identity()
        self.encoder = EncoderLayer(dim, config)
        self.semantic_features = SemanticFeatures(dim, config)
        self.attention_regions = nn.Linear(dim, attention_size, bias=False)
        self.attention_labels = nn.Linear(dim, attention_size, bias=False)
        self.attention_joint = nn.Linear(attention_size, attention_size, bias=False)
        self.attention = nn.Linear(attention_size, 1, bias=False)
        self.aligned_scorer = nn.Linear(dim, 2 * dim, bias=False)
        self.region_scorer = nn.Linear(dim, 2 * dim)
        self.scorer_dropout = nn.Dropout(scorer_dropout)
        self.classifier = nn.Linear(2 * dim, num_labels)
        self.semantic_map = nn.Linear(dim, num_labels)

    def forward(self, features: Tensor, label_embeddings: Tensor) -> dict[str, Tensor]:
        """Map features (B, D₀, H, W) and label embeddings (C, D_t) to logits (B, C) "region", which score, and "map".

        W₃·[softmax(A)·Fˢ ; X] is computed as softmax(A)·(W₃ᶠ·Fˢ) + W₃ˣ·X, with the same result.
        """
        regions = self.region_proj(features.flatten(2).transpose(1, 2))  # (B, P, D)
        height, width = features.shape[-2:]
        positions = sine_positions(height, width, regions.shape[-1], regions.device)  # (P, D)
        regions = self.encoder(regions, positions)  # (B, P, D)
        label_features = self.semantic_features(label_embeddings, regions.mean(dim=1))  # (B, C, D)
        scores = bilinear_scores(
            self.attention_regions(regions),
            self.attention_labels(label_features),
            self.attention_joint,
            self.attention,
        )  # (B, C, P)
        attention = full_precision(scores).softmax(dim=1).to(regions.dtype)
        aligned = attention.transpose(1, 2) @ self.aligned_scorer(label_features)  # (B, P, 2D)
        hidden = self.scorer_dropout(F.gelu(aligned + self.region_scorer(regions)))  # (B, P, 2D)
        found = aggregate(self.classifier(hidden))  # (B, C)
        return {"region": found, "map": full_precision(self.semantic_map(regions)).amax(dim=1)}
