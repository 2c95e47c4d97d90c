"""ML-Decoder (Ridnik et al., WACV 2023, arXiv 2111.12933), on timm's layer."""

import torch
from timm.layers.ml_decoder import MLDecoder
from torch import Tensor, nn

from sct_hf.peers.registry import register_head


@register_head("ml_decoder")
class MLDecoderHead(nn.Module):
    """timm's layer: fixed random queries, one cross-attention over the regions, group-wise fully connected scores.

    Args:
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
        hidden_size (`int`, *optional*, defaults to 768): Width of the decoder, a multiple of 8.
    """

    def __init__(self, num_features: int, num_labels: int, hidden_size: int = 768) -> None:
        super().__init__()
        self.layer = MLDecoder(num_labels, decoder_embedding=hidden_size, initial_num_features=num_features)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D₀, H, W) to logits (B, C).

        The layer's own forward uses `nn.TransformerDecoder`, which passes arguments that timm's layer does not accept.
        This one calls the inner layer and scores all groups at once.
        """
        layer = self.layer
        regions = layer.embed_standart(features.flatten(2).transpose(1, 2)).relu()  # (B, P, D)
        queries = layer.query_embed.weight.unsqueeze(1).expand(-1, len(regions), -1)  # (G, B, D)
        decoded = layer.decoder.layers[0](queries, regions.transpose(0, 1))  # (G, B, D)
        scores = torch.einsum("gbd,gdf->bgf", decoded, layer.duplicate_pooling)  # (B, G, labels of a group)
        return scores.flatten(1)[:, : layer.num_classes] + layer.duplicate_pooling_bias
