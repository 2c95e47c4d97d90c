"""SCT with messages between labels that occur together in training, after KGGR."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from sct_hf.model.configuration_sct import SCTConfig, checked
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification, SCTModel
from sct_hf.model.vocabulary_sct import Vocabulary
from sct_hf.peers.registry import register_head


@checked
class SCTLabelGraphConfig(SCTConfig):
    """Configuration of `SCTWithLabelGraph`, with the fields of `SCTConfig`."""

    model_type = "sct_label_graph"

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("label_graph", None)  # of checkpoints of sct_hf 0.1
        super().__post_init__(**kwargs)


class LabelMessages(nn.Module):
    """One step of messages over a graph of labels: f_i + W·Σ_j Â_ij·f_j.

    That labels pass messages along their co-occurrence in training, by P(label j | label i) as counted, is KGGR's
    (Chen et al., "Knowledge-Guided Multi-Label Few-Shot Learning for General Image Recognition", TPAMI 2022). The
    layer is a choice of this project:

    - It takes one step, a linear map with a residual, instead of three steps of a gated recurrent unit. The unit has
      six times the weights, changes labels without neighbours, and limits features to (−1, 1).
    - W starts at 0, so training starts from the model without messages. It has no bias, so the features of a label
      without neighbours stay bit-identical.
    - Â is P, divided by its row's sum if that is above 1: a label gets at most a mean of its neighbours, and weak
      links stay weak. There is no threshold and no re-weighting. The residual is the link of a label to itself.

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


class SCTLabelGraphModel(SCTModel):
    """`SCTModel` with messages between its own labels. Other labels have no counts and pass none."""

    config_class = SCTLabelGraphConfig

    def __init__(self, config: SCTLabelGraphConfig) -> None:
        super().__init__(config)
        self.label_messages = LabelMessages(self.hidden_size)
        count = len(config.label_names)
        self.label_graph: Tensor
        self.register_buffer("label_graph", torch.zeros(count, count))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LabelMessages):
            init.zeros_(module.weight)
            return
        if module is self and "label_graph" in self._buffers:  # the base class initialises before it is there
            init.zeros_(self.label_graph)
        super()._init_weights(module)

    def set_label_graph(self, graph: Tensor) -> None:
        """Set the graph of the labels, such as that of `count_label_graph`.

        Args:
            graph (`Tensor` of shape (C, C)): P(label j | label i), any float dtype, with a diagonal of zeros.

        Raises:
            ValueError: The graph cannot be used.
        """
        check_label_graph(graph, len(self.config.label_names))
        self.label_graph = graph.detach().to(self.label_graph, copy=True)

    def label_features(self, image_feature: Tensor, vocabulary: Vocabulary) -> Tensor:
        """As `SCTModel.label_features`, then messages between the checkpoint's labels: (B, C, D)."""
        features = super().label_features(image_feature, vocabulary)
        return self.label_messages(features, self.label_graph) if vocabulary.own else features


@register_head("sct_label_graph")
class SCTWithLabelGraph(SCTForMultiLabelClassification):
    """SCT with messages between its labels; see `LabelMessages`."""

    config_class = SCTLabelGraphConfig
    base_model_class = SCTLabelGraphModel
    sct: SCTLabelGraphModel

    def observe_targets(self, targets: Tensor) -> None:
        """Count the graph in targets (N, C): 1 present, 0 absent, −1 unknown; see `count_label_graph`."""
        self.sct.set_label_graph(count_label_graph(targets))

    def set_labels(self, names: Any, *args: Any, **kwargs: Any) -> None:
        """As `SCTForMultiLabelClassification.set_labels`; the graph between labels that stay is kept."""
        former, graph = self.config.label_names, self.sct.label_graph
        super().set_labels(names, *args, **kwargs)
        if self.config.scorer == "label":  # a linear scorer's labels are only renamed
            self.sct.label_graph = graph_of_labels(graph, former, self.config.label_names)

    def score_in_parts(self, *args: Any, vocabulary: Vocabulary, size: int, **kwargs: Any) -> Tensor:
        """As `SCTForMultiLabelClassification.score_in_parts`, for other labels than the checkpoint's."""
        if vocabulary.own:
            raise ValueError(
                f"size={size} cannot be used with the checkpoint's own labels: messages pass between them, so they "
                "are scored together. Give a vocabulary of other labels, or call the model."
            )
        return super().score_in_parts(*args, vocabulary=vocabulary, size=size, **kwargs)


def count_label_graph(targets: Tensor) -> Tensor:
    """Estimate P(label j | label i) of every pair from known targets.

    The estimate is n(i and j) / (n(i, j known) + 1): among images that show i and for which j is known, the share that
    shows j. The graph is KGGR's (Chen et al., TPAMI 2022), which uses plain shares. The added 1 keeps a coincidence
    from becoming certain: if the only image of i shows j, the estimate is 1/2.

    Args:
        targets (`Tensor` of shape (N, C)): Training targets: 1 present, 0 absent, −1 or NaN unknown.

    Returns:
        `Tensor` of shape (C, C), float32: row i for the condition, diagonal 0.
    """
    shown = (targets == 1).double()  # (N, C)
    judged = ((targets == 1) | (targets == 0)).double()  # (N, C)
    graph = (shown.T @ shown) / (shown.T @ judged + 1)  # (C, C)
    return graph.fill_diagonal_(0).float()


def check_label_graph(graph: Tensor, count: int) -> None:
    """Check a graph of `count` labels.

    Raises:
        ValueError: The shape is not (C, C), an entry is not a probability, or a label has a link to itself.
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
    """The graph (C, C) of labels `names`, taken from the graph of `former` ones; new labels have no neighbours."""
    places = {name: place for place, name in enumerate(former)}
    kept = [place for place, name in enumerate(names) if name in places]
    taken = [places[names[place]] for place in kept]
    made = graph.new_zeros(len(names), len(names))
    rows = torch.tensor(kept, dtype=torch.long, device=graph.device)
    made[rows[:, None], rows] = graph[taken][:, taken]
    return made


__all__ = ["LabelMessages", "SCTLabelGraphConfig", "SCTLabelGraphModel", "SCTWithLabelGraph", "check_label_graph"]
__all__ += ["count_label_graph", "graph_of_labels"]
