"""Messages between labels over the graph of their co-occurrence, an optional part of SCT."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LabelMessages(nn.Module):
    """One step of messages over a graph of labels: f_i + W·Σ_j Â_ij·f_j.

    That labels pass messages along their co-occurrence in training, by P(label j | label i) as counted, is KGGR's
    (Chen et al., "Knowledge-Guided Multi-Label Few-Shot Learning for General Image Recognition", TPAMI 2022). The
    layer is ours:

    - One step, a linear map and a residual in place of three steps of a gated recurrent unit, which has six times the
      weights, would change a label without neighbours, and bring its features into (−1, 1).
    - W starts at 0, so that training goes out from the model without messages, with all other weights as they would
      be there; it has no bias, so that a label without neighbours keeps its features to the bit.
    - Â is P divided by its row's sum where that is above 1: no label hears more than a mean of its neighbours, and
      weak links stay weak. No threshold, no re-weighting, and the residual is the link of a label to itself.

    Args:
        dim (`int`): Width D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim, dim))

    def forward(self, label_features: Tensor, graph: Tensor) -> Tensor:
        """Map label features (B, C, D), with P (C, C) as `check_label_graph` lets it pass, to (B, C, D)."""
        links = graph / graph.sum(dim=1, keepdim=True).clamp(min=1)  # (C, C)
        heard = links.to(label_features.dtype) @ label_features  # (B, C, D)
        return label_features + F.linear(heard, self.weight)


def check_label_graph(graph: Tensor, count: int) -> None:
    """Check a graph of `count` labels.

    Raises:
        ValueError: Not (C, C), entries that are no probabilities, or links of a label to itself.
    """
    if tuple(graph.shape) != (count, count):
        raise ValueError(
            f"label_graph has shape {tuple(graph.shape)}, but ({count}, {count}) is needed: one row and one column a "
            "label."
        )
    wrong = ~((graph >= 0) & (graph <= 1))
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"label_graph[{row}, {column}] is {graph[row, column].item():g}: give probabilities P(label j | label i), "
            "in [0, 1]."
        )
    if graph.diagonal().any():
        label = int(graph.diagonal().nonzero()[0])
        raise ValueError(
            f"label_graph[{label}, {label}] is {graph[label, label].item():g}, a link of a label to itself: set its "
            "diagonal to 0."
        )


def graph_of_labels(graph: Tensor, former: Sequence[str], names: Sequence[str]) -> Tensor:
    """The graph (C, C) of labels `names`, from that of `former` ones; new labels have no neighbours."""
    places = {name: place for place, name in enumerate(former)}
    kept = [place for place, name in enumerate(names) if name in places]
    taken = [places[names[place]] for place in kept]
    made = graph.new_zeros(len(names), len(names))
    rows = torch.tensor(kept, dtype=torch.long, device=graph.device)
    made[rows[:, None], rows] = graph[taken][:, taken]
    return made


__all__ = ["LabelMessages", "check_label_graph", "graph_of_labels"]
