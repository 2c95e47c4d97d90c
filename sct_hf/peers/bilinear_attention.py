"""Low-rank bilinear attention of label text over regions (SSGRL; Chen et al., ICCV 2019, arXiv 1908.07325)."""

from torch import Tensor, nn

from sct_hf.model.transport_sct import full_precision
from sct_hf.peers.label_text_head import LabelTextHead
from sct_hf.peers.registry import register_head


@register_head("bilinear_attention")
class BilinearAttentionHead(LabelTextHead):
    """Each label's text attends to the regions; a vector per label scores the attended features.

    For label k and region p, with joint width d: score[k, p] = a·P·tanh((U·f_p) ⊙ (V·e_k)), softmax over the regions,
    f_k = Σ_p attention[k, p]·f_p, logit_k = w_k·tanh(F·f_k) + b_k. SSGRL also passes f_k through a gated graph network
    over label co-occurrence and gives both to F; that part is left out here. P and a have no biases, since the softmax
    would cancel them.

    Args:
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
        label_embedding_size (`int`): Width D_t of the label embeddings.
        hidden_size (`int`, *optional*, defaults to 1024): Joint width d.
        output_size (`int`, *optional*, defaults to 2048): Width of the label's output vector.
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        label_embedding_size: int,
        hidden_size: int = 1024,
        output_size: int = 2048,
    ) -> None:
        super().__init__()
        self.region_proj = nn.Linear(num_features, hidden_size, bias=False)
        self.label_proj = nn.Linear(label_embedding_size, hidden_size, bias=False)
        self.joint_proj = nn.Linear(hidden_size, hidden_size, bias=False)
        self.attention = nn.Linear(hidden_size, 1, bias=False)
        self.output_proj = nn.Linear(num_features, output_size)
        self.classifier = nn.Linear(output_size, num_labels)

    def forward(self, features: Tensor, label_embeddings: Tensor) -> Tensor:
        """Map features (B, D₀, H, W) and label embeddings (C, D_t) to logits (B, C)."""
        regions = features.flatten(2).transpose(1, 2)  # (B, P, D₀)
        joint_regions, joint_labels = self.region_proj(regions), self.label_proj(label_embeddings)
        scores = bilinear_scores(joint_regions, joint_labels, self.joint_proj, self.attention)  # (B, C, P)
        attention = full_precision(scores).softmax(dim=2).to(regions.dtype)
        attended = self.output_proj(attention @ regions).tanh()  # (B, C, output)
        return (attended * self.classifier.weight).sum(-1) + self.classifier.bias


def bilinear_scores(regions: Tensor, labels: Tensor, joint: nn.Linear, attention: nn.Linear) -> Tensor:
    """Scores a·P·tanh(u ⊙ v) of regions u and labels v in their joint width d.

    a·P is multiplied first. The result is the same and saves a layer on every pair of label and region.

    Args:
        regions (`Tensor` of shape (B, P, d)): Projected regions.
        labels (`Tensor` of shape (C, d) or (B, C, d)): Projected labels.
        joint (`nn.Linear`): P, without a bias.
        attention (`nn.Linear`): a, to one number, without a bias.

    Returns:
        `Tensor` of shape (B, C, P).
    """
    pairs = regions.unsqueeze(1) * labels.unsqueeze(-2)  # (B, C, P, d)
    return pairs.tanh() @ (attention.weight @ joint.weight).squeeze(0)
