"""A linear head regularised by conditional transport, after PatchCT (Li et al., ICCV 2023, arXiv 2307.09066)."""

from torch import Tensor, nn

from sct_hf.model.transport_sct import cosine_similarity, transport_loss
from sct_hf.peers.label_text_head import LabelTextHead
from sct_hf.peers.registry import register_head


@register_head("patchct")
class PatchCTHead(LabelTextHead):
    """Regions in a space shared with label text: a linear classifier on their mean, and transport to the text.

    From the paper: an image is a set of patch embeddings and, in training, a set of embeddings of its true labels. The
    bidirectional conditional transport cost between both is added to the asymmetric loss. Prediction reads no text.
    Only the abstract and summaries of the paper were available, so the rest is this project's: projections into the
    shared space instead of trained encoders, the mean before the classifier, equal weights of all regions, and the
    defaults.

    Args:
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
        label_embedding_size (`int`): Width D_t of the label embeddings.
        hidden_size (`int`, *optional*, defaults to 512): Width D of the shared space.
        temperature (`float`, *optional*, defaults to 0.1): τ of the transport plans.
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        label_embedding_size: int,
        hidden_size: int = 512,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} cannot be used: give a number > 0")
        self.temperature = temperature
        self.region_proj = nn.Linear(num_features, hidden_size)
        self.label_proj = nn.Linear(label_embedding_size, hidden_size)
        self.classifier = nn.Linear(hidden_size, num_labels)

    def forward(self, features: Tensor, label_embeddings: Tensor) -> Tensor:
        """Map features (B, D₀, H, W) to logits (B, C); label embeddings (C, D_t) are ignored."""
        return self.classifier(self.region_proj(features.mean((2, 3))))  # the mean of the projected regions

    def transport_loss(self, features: Tensor, label_embeddings: Tensor, label_weights: Tensor) -> Tensor:
        """Transport cost, a scalar, between regions of features (B, D₀, H, W) and labels with weights (B, C).

        A label of weight zero is ignored; an image with only zeros contributes 0.
        """
        regions = self.region_proj(features.flatten(2).transpose(1, 2))  # (B, P, D)
        labels = self.label_proj(label_embeddings).expand(len(regions), -1, -1)  # (B, C, D)
        return transport_loss(
            cosine_similarity(regions, labels), temperature=self.temperature, label_weights=label_weights
        )
