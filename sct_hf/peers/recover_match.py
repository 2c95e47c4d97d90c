"""The matching of "Recover and Match" (Tan et al., CVPR 2025, arXiv 2503.15337) as a head."""

import math

import torch
from torch import Tensor, nn

from sct_hf.model.transport_sct import cosine_similarity, full_precision
from sct_hf.peers.backbone_classes import BackboneClassesHead
from sct_hf.peers.label_text_head import LabelTextHead
from sct_hf.peers.registry import register_head
from sct_hf.peers.sinkhorn import sinkhorn_plan

_REGION_TEMPERATURE = 0.1
_EPSILON = 0.1
_TEACHER_WEIGHT = 0.05
_TEACHER_SHARPNESS = 20.0
_LEAST = 1e-6


@register_head("recover_match")
class RecoverMatchHead(LabelTextHead, BackboneClassesHead):
    """Regions are matched to labels by entropic optimal transport, which in training a frozen teacher constrains.

    From the paper and its public code, of which nothing is copied:

    - cosines s[p, k] of regions and label text, and the cost 1 − softmax over the labels of scaled s
    - the mass of a region, softmax over the regions of max_k s[p, k] / 0.1; each label has the mass 1/C
    - the plan T by Sinkhorn with ε = 0.1, without a gradient; the score of a label is Σ_p T[p, k]·s[p, k], scaled, and
      joins that of the global feature
    - in training, the teacher's distribution r over regions, softmax of 20 · its label probabilities. For labels that
      the image does not show it has its least value. The cost has −0.05·log r added, and ε becomes 0.15
    - the multi-matching contrastive loss: the mean of −log softmax, over all images and labels of a batch, of the
      labels that the images show

    This project's choices:

    - The paper adapts CLIP and its teacher is the frozen CLIP. Here, linear layers project regions and text into one
      space, and the teacher is the backbone's own classifier, asked of each region for the labels' classes. The
      paper's other half, adapters that recover local features of CLIP, is left out.
    - One learned scale for the scores, from 10 (CLIP's is 100), and a bias for each label. Scores of regions and of
      the mean feature are averaged as logits, not as probabilities.
    - The asymmetric loss of the other heads on these scores. The contrastive loss, with the constrained plan, is added
      with the weight of the transport loss. Labels that are unknown count as absent in it.
    - A fixed number of Sinkhorn's iterations.

    Args:
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
        label_embedding_size (`int`): Width D_t of the label embeddings.
        num_classes (`int`, *optional*, defaults to 1000): Classes K of the classifier.
        hidden_size (`int`, *optional*, defaults to 512): Width D of the shared space.
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        label_embedding_size: int,
        num_classes: int = 1000,
        hidden_size: int = 512,
    ) -> None:
        super().__init__()
        self.region_proj = nn.Linear(num_features, hidden_size)
        self.label_proj = nn.Linear(label_embedding_size, hidden_size)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.zeros(num_labels))
        self.hold_classes(num_features, num_labels, num_classes)

    def forward(self, features: Tensor, label_embeddings: Tensor) -> Tensor:
        """Map features (B, D₀, H, W) and label embeddings (C, D_t) to logits (B, C), float32."""
        similarity, overall = self._similarity(features, label_embeddings)
        return self._logits(similarity, overall, self.plan(similarity))

    def transport_loss(self, features: Tensor, label_embeddings: Tensor, label_weights: Tensor) -> Tensor:
        """The contrastive loss, a scalar, of features (B, D₀, H, W) and labels with weights (B, C)."""
        similarity, overall = self._similarity(features, label_embeddings)
        plan = self.plan(similarity, self.teacher(features, label_weights > 0))
        log_share = self._logits(similarity, overall, plan).flatten().log_softmax(0)  # (B·C,)
        weights = label_weights.flatten().to(log_share.dtype)
        return -(weights * log_share).sum() / weights.sum().clamp(min=1)

    @torch.no_grad()
    def plan(self, similarity: Tensor, teacher: Tensor | None = None) -> Tensor:
        """The plan (B, P, C) of cosines (B, P, C); with the teacher's distribution (B, P, C), that of training.

        It has no gradient, and sums to 1/C over regions.
        """
        similarity = full_precision(similarity)
        cost, epsilon = 1 - (self.log_scale.exp() * similarity).softmax(2), _EPSILON
        if teacher is not None:
            cost, epsilon = cost - _TEACHER_WEIGHT * teacher.clamp(min=_LEAST).log(), _EPSILON + _TEACHER_WEIGHT
        region_weights = (similarity.amax(2) / _REGION_TEMPERATURE).softmax(1)  # (B, P)
        count = similarity.shape[2]
        label_weights = similarity.new_full((len(similarity), count), 1 / count)
        return sinkhorn_plan(cost, region_weights, label_weights, epsilon=epsilon)

    @torch.no_grad()
    def teacher(self, features: Tensor, present: Tensor) -> Tensor:
        """Where the backbone's classifier sees each label: (B, P, C) of features (B, D₀, H, W), float32.

        Sums to 1 over regions where `present` (B, C); elsewhere it is the least value among all regions and labels.
        """
        regions = features.flatten(2).transpose(1, 2)  # (B, P, D₀)
        evidence = self.evidence(regions.flatten(0, 1)).unflatten(0, regions.shape[:2])  # (B, P, C)
        share = (_TEACHER_SHARPNESS * evidence.softmax(2)).softmax(1)  # (B, P, C)
        return torch.where(present.unsqueeze(1), share, share.amin())

    def _similarity(self, features: Tensor, label_embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines of label text with regions (B, P, C) and with the mean region (B, C), float32."""
        regions = self.region_proj(features.flatten(2).transpose(1, 2))  # (B, P, D)
        tokens = torch.cat((regions, regions.mean(1, keepdim=True)), 1)  # (B, P + 1, D)
        labels = self.label_proj(label_embeddings).expand(len(tokens), -1, -1)  # (B, C, D)
        similarity = cosine_similarity(tokens, labels)  # (B, P + 1, C)
        return similarity[:, :-1], similarity[:, -1]

    def _logits(self, similarity: Tensor, overall: Tensor, plan: Tensor) -> Tensor:
        """Logits (B, C) of cosines (B, P, C), those of the mean region (B, C) and a plan (B, P, C)."""
        matched = similarity.shape[2] * (plan * similarity).sum(1)  # (B, C): a mean over regions for each label
        return full_precision(self.log_scale).exp() * (matched + overall) / 2 + full_precision(self.bias)
