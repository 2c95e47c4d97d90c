"""Lists of names in messages and tables: how many are shown, and the number of the others."""

from collections.abc import Collection

PRINTED = 100
"""Most labels that are printed one by one."""

FEW = 20
"""Labels of a kind, such as the most frequent ones, that are printed where there are more than `PRINTED`."""


def some(names: Collection[str], count: int = 10) -> str:
    """The first few names, and the number of the others."""
    first = ", ".join(list(names)[:count])
    return f"{first} and {len(names) - count:,} more" if len(names) > count else first or "none"
