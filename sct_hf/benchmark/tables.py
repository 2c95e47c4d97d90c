"""Results of a benchmark as files: parquet for programs, Markdown for readers."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import pandas as pd

from sct_hf.escaping import in_markdown
from sct_hf.files import atomic_write

_MAX_DECIMALS = 4
_ABSENT = "–"


def write_rows(
    folder: str | Path,
    name: str,
    rows: list[dict[str, Any]],
    *,
    caption: str = "",
    columns: Sequence[str] | None = None,
) -> None:
    """Write `<name>.parquet` with all columns and `<name>.md` with a table, each whole or not at all.

    Args:
        folder: Folder of the files; created if absent.
        name: Name of both files, without suffix.
        rows: One dict per row. A column that a row lacks is empty there.
        caption: Markdown above the table: its content, and how it was measured.
        columns: Columns of the Markdown table, in order; all if not given.

    Raises:
        OSError: A file cannot be written. Files already written are whole.
    """
    folder = Path(folder)
    with atomic_write(folder / f"{name}.parquet") as temporary:
        pd.DataFrame(rows).to_parquet(temporary, index=False)
    with atomic_write(folder / f"{name}.md") as temporary:
        above = f"{caption.strip()}\n\n" if caption else ""
        temporary.write_text(f"{above}{markdown_table(rows, columns)}\n", encoding="utf-8")


def markdown_table(rows: list[dict[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Format rows as a Markdown table, with numbers aligned right.

    Real numbers in a column share their number of decimals: as many as needed, but at most 4, and at most four
    significant digits of the largest. A column that would lose small values has three significant digits per value.
    None and NaN are shown as "–"; whole numbers are grouped by thousands.

    Args:
        rows: One dict per row.
        columns: Columns in order; all in order of appearance if not given.
    """
    names = list(columns) if columns is not None else list(dict.fromkeys(name for row in rows for name in row))
    values = [[row.get(name) for row in rows] for name in names]
    texts = [_column(column) for column in values]
    numeric = [any(_is_number(value) for value in column) for column in values]
    widths = [max(3, *map(len, [in_markdown(name), *cells])) for name, cells in zip(names, texts, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
    return "\n".join([line([in_markdown(name) for name in names]), line(rule), *map(line, zip(*texts, strict=True))])


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _absent(value: Any) -> bool:
    return value is None or (_is_number(value) and math.isnan(value))


def _column(values: list[Any]) -> list[str]:
    reals = [float(value) for value in values if _is_number(value) and not isinstance(value, Integral)]
    form = _real_format([value for value in reals if math.isfinite(value)])
    return [_cell(value, form) for value in values]


def _real_format(values: list[float]) -> str:
    """The format of a column of finite real numbers, see `markdown_table`."""
    sizes = [abs(value) for value in values if value]
    if not sizes:
        return ".0f"
    digits = 3 - math.floor(math.log10(max(sizes)))
    decimals = max(0, min(digits, _MAX_DECIMALS))
    if round(min(sizes) * 10**decimals) < 10 and any(round(size, decimals) != size for size in sizes):
        return ".3g"
    needed = next(count for count in range(decimals + 1) if count == decimals or _exact(values, count))
    return f",.{needed}f"


def _exact(values: list[float], decimals: int) -> bool:
    return all(round(value, decimals) == value for value in values)


def _cell(value: Any, form: str) -> str:
    if _absent(value):
        return _ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_number(value):
        return f"{int(value):,}" if isinstance(value, Integral) else format(float(value), form)
    if isinstance(value, list | tuple):
        return in_markdown(", ".join(map(str, value)))
    return in_markdown(str(value))
