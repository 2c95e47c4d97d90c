"""Labels above others: scores that respect a hierarchy of labels, and labels that cover classes of the backbone."""

import math
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from .transport_sct import cosine_similarity, full_precision, transport_plan, without_autocast

LabelParents = Mapping[str, Sequence[str]]
ListOrProfiles = Sequence[float | None] | Mapping[str, Sequence[float | None]]
_LEAST_CHANCE = 1e-4
_PROTOTYPE_TEMPERATURE = 0.05


def check_label_parents(label_parents: LabelParents, label_names: Sequence[str]) -> None:
    """Check a hierarchy against the labels.

    Args:
        label_parents: {label: its parents}. Several parents are allowed; labels without any are left out.
        label_names: All labels, parents included.

    Raises:
        ValueError: A name is not a label, a label has no parent or one twice, or a label is its own ancestor.
    """
    known = set(label_names)
    for child, parents in label_parents.items():
        strange = [name for name in (child, *parents) if name not in known]
        if strange:
            raise ValueError(
                f"label_parents names {strange[0]!r}, which is no label: add it to the labels, or remove it."
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
        ValueError: A label is its own ancestor.
    """
    try:
        return list(TopologicalSorter(label_parents).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise ValueError(f"label_parents has a cycle, {circle}: no label may be its own ancestor.") from error


def ancestors(label_parents: LabelParents) -> dict[str, list[str]]:
    """The set of ancestors of each name of a hierarchy; empty for a name without parents.

    Raises:
        ValueError: A label is its own ancestor.
    """
    found: dict[str, list[str]] = {}
    for name in top_down(label_parents):
        parents = label_parents.get(name, ())
        found[name] = list(dict.fromkeys(up for parent in parents for up in (parent, *found[parent])))
    return found


def rename_label_parents(label_parents: LabelParents, new_name: Mapping[str, str]) -> dict[str, list[str]]:
    """Rename the labels of a hierarchy by {name: new name}."""
    return {new_name[child]: [new_name[parent] for parent in parents] for child, parents in label_parents.items()}


def check_calibration(
    given: Mapping[str, Sequence[float]], label_names: Sequence[str], label_parents: LabelParents
) -> str | None:
    """Check slopes and shifts of C labels; one increasing map throughout a hierarchy keeps the order of its scores.

    Returns:
        The remedy if they cannot be used.
    """
    slope, shift, count = given.get("slope") or (), given.get("shift") or (), len(label_names)
    usable = len(given) == 2 and len(slope) == len(shift) == count and all(value > 0 for value in slope)
    if not (usable and all(math.isfinite(value) for value in (*slope, *shift))):
        return f"give slopes > 0 and shifts, one for each of the {count} labels"
    of = dict(zip(label_names, zip(slope, shift, strict=True), strict=True))
    apart = [name for name, parents in label_parents.items() if any(of[name] != of[parent] for parent in parents)]
    return f"{apart[0]!r} and its parents need one slope and one shift" if apart else None


def check_thresholds(given: ListOrProfiles, label_names: Sequence[str], label_parents: LabelParents) -> str | None:
    """Check thresholds of C labels, one list or several by profile; None is above all of them.

    Returns:
        The remedy if they cannot be used.
    """
    for values in given.values() if isinstance(given, Mapping) else [given]:
        if len(values) != len(label_names) or any(value is not None and not 0 <= value <= 1 for value in values):
            return f"give one number in [0, 1] for each of the {len(label_names)} labels, or none for 0.5"
        of = dict(zip(label_names, (math.inf if value is None else value for value in values), strict=True))
        for name, parent in ((name, parent) for name, parents in label_parents.items() for parent in parents):
            if of[parent] > of[name]:
                needs = f"{parent!r} needs one of {of[name]} or less, that of {name!r} below it"
                return f"a tag's parents are tags too, so {needs}"
    return None if given else "name a profile, or leave them out"


class LabelHierarchy(nn.Module):
    """Raise each label's logit to the maximum of itself and its descendants.

    This is the max-constraint module of C-HMCNN (Giunchiglia & Lukasiewicz, "Coherent Hierarchical Multi-Label
    Classification Networks", NeurIPS 2020). It works on logits instead of probabilities, which have the same order.
    Its cost grows with the number of (label, ancestor) pairs, not with the square of the labels.

    Args:
        label_parents: The parents of each label, by name, already checked.
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
        """Fill the buffers, which are not saved in checkpoints."""
        init.copy_(self.above, self._column(0))
        init.copy_(self.below, self._column(1))

    def forward(self, logits: Tensor) -> Tensor:
        """Raise parents to their highest descendant.

        Args:
            logits: (B, C), any float dtype; scores work too.

        Returns:
            (B, C) of the same dtype: no label is below a descendant, and labels without descendants are unchanged.
            The gradient flows to the highest logit, in equal parts for ties.
        """
        descendants = logits[:, self.below]  # (B, E)
        return logits.scatter_reduce(1, self.above.expand_as(descendants), descendants, "amax")

    def implied(self, known_labels: Tensor) -> Tensor:
        """Infer labels from known ones: ancestors of a present label are present, descendants of an absent one absent.

        Args:
            known_labels: (B, C): 1 present, 0 absent, −1 or NaN unknown.

        Returns:
            (B, C) float32, in the same code.

        Raises:
            ValueError: A label is known to be absent but a descendant present. Checked on the CPU only, since the
                check would stall a GPU.
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
                    "present: give only one of them."
                )
        return present - (1 - present) * (1 - absent)


def make_hierarchy(label_parents: LabelParents | None, label_names: Sequence[str]) -> LabelHierarchy | None:
    """The module of a hierarchy, or None without a hierarchy."""
    return LabelHierarchy(label_parents, label_names) if label_parents else None


def class_evidence(pooled: Tensor, class_vectors: Tensor, classes: Tensor) -> Tensor:
    """Score labels by the probabilities that the backbone's own classifier gives to their classes, without training.

    p = Σ_k s[c,k]·softmax_k(x·w_k) is the probability of label c, and p₀ the mean of s[c,k] over the classes. The
    score is logit(p) − ½·logit(p₀): half-way between the odds and the odds against chance. This project's choice.

    Args:
        pooled (`Tensor` of shape (B, D₀)): Mean features x of images.
        class_vectors (`Tensor` of shape (K, D₀)): Rows w_k of the classifier.
        classes (`Tensor` of shape (C, K)): Shares s in [0, 1] of each class in each label.

    Returns:
        `Tensor` of shape (B, C), float32 (float64 for float64 input), also under autocast.
    """
    pooled, class_vectors, classes = map(full_precision, (pooled, class_vectors, classes))
    with without_autocast(pooled.device.type):
        seen = (pooled @ class_vectors.T).softmax(1) @ classes.T  # (B, C)
        odds, chance = (p.clamp(_LEAST_CHANCE, 1 - _LEAST_CHANCE) for p in (seen, classes.mean(1)))
        return (odds / (1 - odds)).log() - (chance / (1 - chance)).log() / 2


def mix_classes(classes: Tensor, class_vectors: Tensor) -> Tensor:
    """Prototypes (C, D₀): the class vectors (K, D₀) mixed by shares (C, K), each at the mean length of the vectors."""
    mixed = F.normalize(full_precision(classes) @ full_precision(class_vectors), dim=1)
    return (mixed * full_precision(class_vectors).norm(dim=1).mean()).to(class_vectors.dtype)


def plan_of_prototypes(features: Tensor, prototypes: Tensor) -> Tensor:
    """The backward plan (B, P, C) from prototypes (C, D₀) to features (B, P, D₀), at a temperature of 0.05."""
    likeness = cosine_similarity(features, prototypes.unsqueeze(0))  # (B, P, C)
    return transport_plan(likeness, _PROTOTYPE_TEMPERATURE, None, None, dim=1)


__all__ = ["LabelHierarchy", "LabelParents", "ancestors", "check_calibration", "check_label_parents"]
__all__ += ["check_thresholds", "make_hierarchy"]
__all__ += ["class_evidence", "mix_classes", "plan_of_prototypes", "rename_label_parents", "top_down"]
