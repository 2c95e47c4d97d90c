"""A hierarchy of labels, and scores that agree with it: a parent's is never below a child's."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

import torch
from torch import Tensor, nn
from transformers import initialization as init

LabelParents = Mapping[str, Sequence[str]]


def check_label_parents(label_parents: LabelParents, label_names: Sequence[str]) -> None:
    """Check a hierarchy against the labels.

    Args:
        label_parents: {label: its parents}; several parents are allowed, labels without any are left out.
        label_names: The labels, which parents are among.

    Raises:
        ValueError: A name that is no label, a label without or twice with a parent, one above itself.
    """
    known = set(label_names)
    for child, parents in label_parents.items():
        strange = [name for name in (child, *parents) if name not in known]
        if strange:
            raise ValueError(
                f"label_parents names {strange[0]!r}, which is no label: make it one, or take it out of label_parents."
            )
        if not parents or len(set(parents)) < len(parents):
            raise ValueError(
                f"label_parents gives {child!r} the parents {list(parents)!r}: give each of one or more parents once, "
                "and leave labels without a parent out."
            )
    top_down(label_parents)


def top_down(label_parents: LabelParents) -> list[str]:
    """The names of a hierarchy, each after its parents.

    Raises:
        ValueError: A label lies above itself.
    """
    try:
        return list(TopologicalSorter(label_parents).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise ValueError(f"label_parents goes in a circle, {circle}: no label may lie above itself.") from error


def ancestors(label_parents: LabelParents) -> dict[str, list[str]]:
    """All labels above each name of a hierarchy, nearest generations not told apart; a name without parents has none.

    Raises:
        ValueError: A label lies above itself.
    """
    found: dict[str, list[str]] = {}
    for name in top_down(label_parents):
        parents = label_parents.get(name, ())
        found[name] = list(dict.fromkeys(up for parent in parents for up in (parent, *found[parent])))
    return found


def rename_label_parents(label_parents: LabelParents, new_name: Mapping[str, str]) -> dict[str, list[str]]:
    """The same hierarchy of labels with other names, {name: new name}."""
    return {new_name[child]: [new_name[parent] for parent in parents] for child, parents in label_parents.items()}


class LabelHierarchy(nn.Module):
    """Puts each label's logit at the highest among itself and all labels below it.

    This is the max-constraint module of C-HMCNN (Giunchiglia & Lukasiewicz, "Coherent Hierarchical Multi-Label
    Classification Networks", NeurIPS 2020), there on probabilities, which the sigmoid leaves in the same order. Its
    cost grows with the number of (label, ancestor) pairs, not with the square of the labels.

    Args:
        label_parents: The parents of each label, by name; checked already.
        label_names: The C labels, in the order of the logits.
    """

    def __init__(self, label_parents: LabelParents, label_names: Sequence[str]) -> None:
        super().__init__()
        self._names = list(label_names)
        place = {name: label for label, name in enumerate(label_names)}
        # (above, below) labels of each pair; a list, as buffers hold nothing while a checkpoint is loaded
        self._pairs = [(place[up], place[name]) for name, above in ancestors(label_parents).items() for up in above]
        self.above: Tensor
        self.below: Tensor
        self.register_buffer("above", self._column(0), persistent=False)  # (E,)
        self.register_buffer("below", self._column(1), persistent=False)  # (E,)

    def _column(self, side: int) -> Tensor:
        return torch.tensor([pair[side] for pair in self._pairs])

    def init_non_persistent_buffers(self) -> None:
        """Fill the buffers, which no checkpoint holds."""
        init.copy_(self.above, self._column(0))
        init.copy_(self.below, self._column(1))

    def forward(self, logits: Tensor) -> Tensor:
        """Raise parents to their highest descendant.

        Args:
            logits: (B, C), any float dtype; scores will do as well.

        Returns:
            (B, C) of the same dtype: no label is below one of its descendants, and one without descendants is as it
            was. The gradient goes to the highest, in equal parts where several are.
        """
        descendants = logits[:, self.below]  # (B, E)
        return logits.scatter_reduce(1, self.above.expand_as(descendants), descendants, "amax")

    def implied(self, known_labels: Tensor) -> Tensor:
        """What follows from known labels: above a present label all are present, below an absent one absent.

        Args:
            known_labels: (B, C): 1 present, 0 absent, −1 or NaN unknown.

        Returns:
            (B, C), float32: likewise.

        Raises:
            ValueError: A label is known to be absent and one below it present (looked at on the CPU only, where that
                stalls nothing).
        """
        present = self((known_labels == 1).float())  # (B, C)
        absent = (known_labels == 0).float()
        absent = absent.scatter_reduce(1, self.below.expand(len(absent), -1), absent[:, self.above], "amax")
        if known_labels.device.type == "cpu" and not torch.compiler.is_compiling():
            wrong = (known_labels[:, self.above] == 0) & (known_labels[:, self.below] == 1)  # (B, E)
            if wrong.any():
                up, below = (self._names[label] for label in self._pairs[int(wrong.any(0).nonzero()[0])])
                raise ValueError(
                    f"known_labels say that {up!r} is absent and {below!r}, which is below it in the hierarchy, "
                    "present: say one of both."
                )
        return present - (1 - present) * (1 - absent)


def make_hierarchy(label_parents: LabelParents | None, label_names: Sequence[str]) -> LabelHierarchy | None:
    """The module of a hierarchy of labels, if there is one."""
    return LabelHierarchy(label_parents, label_names) if label_parents else None


__all__ = ["LabelHierarchy", "LabelParents", "ancestors", "check_label_parents", "make_hierarchy"]
__all__ += ["rename_label_parents", "top_down"]
