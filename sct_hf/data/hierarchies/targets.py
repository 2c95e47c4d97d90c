"""What a hierarchy makes of targets: parents from their children."""

from collections.abc import Mapping, Sequence

import numpy as np

from sct_hf.data.base import LabelledImages
from sct_hf.model.hierarchy_sct import top_down


def with_parents(images: LabelledImages, label_parents: Mapping[str, Sequence[str]]) -> LabelledImages:
    """Return the same images with the targets of parents, the new ones behind the labels of the data set.

    A parent is present where one of its children is. It is absent where all of them are, unless the data set says
    otherwise: where a parent is a label of the data set, its own mark counts as that of one more child, so that it
    stays present where it was, and unknown where nobody judged it. Anything else is unknown: a child may be there.
    A new parent whose children are all absent thus counts as absent although something else below it may be there,
    such as an animal of a kind that is no label. Children are never changed.

    Args:
        images: The images. A child that is no label of theirs is unknown in all of them.
        label_parents: {name: its parents}; parents or children that are no labels of the images become some.
    """
    own = images.label_names
    order = top_down(label_parents)
    mentioned = dict.fromkeys([*label_parents, *(parent for parents in label_parents.values() for parent in parents)])
    names = [*own, *(name for name in mentioned if name not in set(own))]
    column = {name: place for place, name in enumerate(names)}
    targets = np.full((len(images), len(names)), -1, dtype=np.int8)  # (N, C)
    targets[:, : len(own)] = images.marks
    children: dict[str, list[str]] = {}
    for child, parents in label_parents.items():
        for parent in parents:
            children.setdefault(parent, []).append(child)
    for parent in reversed(order):
        if parent not in children:
            continue
        judges = [*children[parent], *([parent] if parent in own else [])]
        marks = targets[:, [column[name] for name in judges]]  # (N, children)
        absent_or_unknown = np.where((marks == 0).all(axis=1), 0, -1)
        targets[:, column[parent]] = np.where((marks == 1).any(axis=1), 1, absent_or_unknown)
    return images.with_marks(targets, names)
