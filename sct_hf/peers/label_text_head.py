"""The base of peer heads that read label text."""

from torch import Tensor, nn


class LabelTextHead(nn.Module):
    """Base class of heads that also read label embeddings (C, D_t). They are made from D₀, C and D_t.

    The embeddings have a root mean square of 1, as in SCT.
    """

    def forward(self, features: Tensor, label_embeddings: Tensor) -> Tensor | dict[str, Tensor]:
        """Map features (B, D₀, H, W) and label embeddings (C, D_t) to logits (B, C), or a dict of them by branch."""
        raise NotImplementedError

    def transport_loss(self, features: Tensor, label_embeddings: Tensor, label_weights: Tensor) -> Tensor | None:
        """Transport cost, a scalar, of features (B, D₀, H, W) and labels with weights (B, C); None for most heads."""
        return None
