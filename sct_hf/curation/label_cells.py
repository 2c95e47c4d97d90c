"""Cells that list labels, with some taken out or added in the way in which the cell is written."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sct_hf.data.cells import AUTO, SEPARATORS, items_in, names_in
from sct_hf.data.names import UnusableError, clean_name, shown
from sct_hf.errors import InputError

_USUAL = re.compile(r"[|;,]")


def usual_sign(cells: Iterable[Any], separator: str = AUTO) -> str:
    """The sign between labels that most cells of a table use; "|" if none does.

    Args:
        cells: The cells.
        separator: `AUTO`, a name of `SEPARATORS`, or the separator itself.
    """
    if separator != AUTO:
        return SEPARATORS.get(separator, separator) or "|"
    plain = (cell for cell in cells if isinstance(cell, str) and not _is_list(cell))
    counts = Counter(mark for cell in plain for mark in _USUAL.findall(cell))
    return max(counts, key=lambda mark: counts[mark]) if counts else "|"


def changed_cell(cell: Any, out: Collection[str], added: Sequence[str], sign: str, separator: str = AUTO) -> Any:
    """A cell without some labels and with others.

    A list stays a list, and names with a sign between them stay such, with their order and spaces. Where that cannot
    be, as for a name with the sign in it, the cell becomes a JSON list.

    Args:
        cell: Text, a list, an object `{"choices": […]}`, or None.
        out: Names to take out.
        added: Names to add, in order; none is in the cell.
        sign: The sign to put between labels where the cell has none.
        separator: How the table is read: `AUTO`, a name of `SEPARATORS`, or the separator itself.

    Returns:
        The new cell, of the same type; a list for None.

    Raises:
        InputError: The table cannot express the labels.
    """
    wanted = [*(name for name in names_in(cell, separator) if name not in out), *added]
    as_text = json.dumps(wanted, ensure_ascii=False)
    for new in (_changed(cell, out, added, sign, separator), as_text if isinstance(cell, str) else wanted):
        try:
            if names_in(new, separator) == wanted:
                return new
        except UnusableError:
            continue
    raise InputError(f"a cell of labels cannot hold {shown(as_text)}: rename the labels, or write the cell by hand")


def _changed(cell: Any, out: Collection[str], added: Sequence[str], sign: str, separator: str) -> Any:
    """The new cell as the old one is written."""
    if isinstance(cell, str) and not _is_list(cell):
        return _changed_text(cell, out, added, sign, separator)
    kept = [item for item in items_in(cell, separator) if clean_name(item) not in out]
    items = [*kept, *added]
    if isinstance(cell, dict):
        return {"choices": items}
    if not isinstance(cell, str):
        return items
    try:
        json.loads(cell)
    except ValueError:
        return repr(items) if cell.strip().startswith("[") else json.dumps(items, ensure_ascii=False)
    new: Any = {"choices": items} if cell.strip().startswith("{") else items
    return json.dumps(new, ensure_ascii=cell.isascii() and "\\u" in cell)


def _changed_text(cell: str, out: Collection[str], added: Sequence[str], sign: str, separator: str) -> str:
    used = _USUAL.findall(cell) if separator == AUTO else [sign] if sign in cell else []
    sign = used[0] if used else sign
    parts = _USUAL.split(cell) if separator == AUTO else cell.split(sign)
    kept = [part for part in parts if part.strip() and clean_name(part) not in out]
    space = " " if any(part.startswith(" ") for part in parts[1:]) and sign != " " else ""
    names = [*kept, *((space if kept or place else "") + name for place, name in enumerate(added))]
    return sign.join(names)


def _is_list(cell: str) -> bool:
    return cell.strip()[:1] in ("[", "{", "(")
