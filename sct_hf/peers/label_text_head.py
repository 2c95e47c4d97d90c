"""What a peer head has that also reads the labels' text."""

from torch import Tensor, nn


class LabelTextHead(nn.Module):
    """Base class of heads that are made from the widths D₀, C and D_t, and read label embeddings (C, D_t) as well.

    The embeddings that reach a head have a root mean square of 1, as SCT's have by default.
    """

    def forward(self, features: Tensor, label_embeddings: Tensor) -> Tensor | dict[str, Tensor]:
        """Map features (B, D₀, H, W) and label embeddings (C, D_t) to logits (B, C), or to those of each branch."""
        raise NotImplementedError

    def transport_loss(self, features: Tensor, label_embeddings: Tensor, label_weights: Tensor) -> Tensor | None:
        """A transport cost of features (B, D₀, H, W) and labels of weights (B, C), a scalar; most heads have none."""
        return None
