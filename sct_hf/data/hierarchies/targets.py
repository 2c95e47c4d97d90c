"""Targets of parents in a hierarchy, from those of their children."""

from collections.abc import Mapping, Sequence

import numpy as np

from sct_hf.data.base import LabelledImages
from sct_hf.model.hierarchy_sct import top_down


def with_parents(images: LabelledImages, label_parents: Mapping[str, Sequence[str]]) -> LabelledImages:
    """Return the same images with targets of parents; new parents follow the labels of the data set.

    A parent is present if a child is present, absent if all children are absent, and else unknown. For a parent that
    is a label of the data set, its own mark counts as one more child: a present parent stays present, and an unknown
    one stays unknown unless a child is present. A new parent is absent if all its children are, although the image may
    show something else below it, such as an animal that is not a label. Children never change.

    Args:
        images: The images. A child that is not one of their labels is unknown in all.
        label_parents: {name: its parents}. Parents and children that the images lack become labels.
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
