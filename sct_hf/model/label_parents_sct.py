"""A hierarchy of labels as a configuration holds it: the parents of each label, by name."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

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


__all__ = ["LabelParents", "ancestors", "check_label_parents", "rename_label_parents", "top_down"]
