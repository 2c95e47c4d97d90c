"""Query2Label: transformer decoding with one query per label (Liu et al., arXiv 2107.10834)."""

import torch
from torch import Tensor, nn

from sct_hf.model.backbone_sct import sine_positions
from sct_hf.peers.registry import register_head


class _Attention(nn.Module):
    """Attention of tokens to a memory, with positions on queries and keys, followed by a norm."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, num_heads, dropout=dropout, batch_first=True)
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(dropout)

    def forward(self, tokens: Tensor, places: Tensor, memory: Tensor, memory_places: Tensor) -> Tensor:
        found = self.attention(tokens + places, memory + memory_places, memory, need_weights=False)[0]
        return self.norm(tokens + self.dropout(found))


class _FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim))
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens + self.dropout(self.layers(tokens)))


@register_head("query2label")
class Query2LabelHead(nn.Module):
    """A learned query per label, decoded against the regions, and a scoring vector per label.

    It has one encoder layer over the regions and two decoder layers. The first decoder layer has no attention among
    labels, since these are equal for every image there. The authors' code omits it too, by default also in the second.

    Args:
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
        hidden_size (`int`, *optional*, defaults to 2048): Width D, a multiple of 4 and of the number of heads.
        ffn_dim (`int`, *optional*, defaults to 8192): Width of the feed-forward blocks.
        num_heads (`int`, *optional*, defaults to 4): Attention heads.
        dropout (`float`, *optional*, defaults to 0.1): Dropout.
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        hidden_size: int = 2048,
        ffn_dim: int = 8192,
        num_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        attention, block = (hidden_size, num_heads, dropout), (hidden_size, ffn_dim, dropout)
        self.region_proj = nn.Linear(num_features, hidden_size)
        self.encoder, self.encoder_ffn = _Attention(*attention), _FeedForward(*block)
        self.queries = nn.Embedding(num_labels, hidden_size)
        self.cross = nn.ModuleList(_Attention(*attention) for _ in range(2))
        self.among_labels = _Attention(*attention)
        self.ffn = nn.ModuleList(_FeedForward(*block) for _ in range(2))
        self.norm = nn.LayerNorm(hidden_size)
        self.classifier = nn.Linear(hidden_size, num_labels)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D₀, H, W) to logits (B, C)."""
        height, width = features.shape[-2:]
        regions = self.region_proj(features.flatten(2).transpose(1, 2))  # (B, P, D)
        places = sine_positions(height, width, regions.shape[-1], regions.device).to(regions.dtype)  # (P, D)
        regions = self.encoder_ffn(self.encoder(regions, places, regions, places))
        queries = self.queries.weight  # (C, D)
        labels = torch.zeros_like(queries).expand(len(regions), -1, -1)  # (B, C, D)
        labels = self.ffn[0](self.cross[0](labels, queries, regions, places))
        labels = self.among_labels(labels, queries, labels, queries)
        labels = self.norm(self.ffn[1](self.cross[1](labels, queries, regions, places)))
        return (labels * self.classifier.weight).sum(-1) + self.classifier.bias  # (B, C)
