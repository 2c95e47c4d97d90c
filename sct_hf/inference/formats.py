"""Tags of images as text: a table, JSON or CSV."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, Literal

from sct_hf.escaping import csv_cell, in_line, in_lines
from sct_hf.inference.tagger import Tags

_BOX = ("xmin", "ymin", "xmax", "ymax")


def format_tags(results: Sequence[Tags], style: Literal["table", "json", "csv"]) -> str:
    r"""Write results as text that ends with a line break.

    Args:
        results: The images' tags.
        style: "table": one line per image. "json": a list of {"path", "tags": [{"label", "score"}]}, with "error" if
            a file could not be read. "csv": path, label, score, error, with one row per tag and one for an image
            without tags. JSON and CSV also have `seen`, `unsure` and the box if the results do; a table writes "?"
            after an unsure tag.

    Unprintable characters are escaped as in JSON, such as \u001b; text in CSV goes through `csv_cell`.
    """
    if style == "json":
        content = [_entry(result) for result in results]
        return in_lines(json.dumps(content, indent=2, ensure_ascii=False)) + "\n"
    if style == "csv":
        return in_lines(_csv(results))
    paths = [in_line(str(result.path)) for result in results]
    width = max(map(len, paths), default=0)
    lines = []
    for path, result in zip(paths, results, strict=True):
        unsure = result.unsure or {}
        tags = ", ".join(f"{label} {score:.2f}{'?' * unsure.get(label, False)}" for label, score in result.tags)
        found = in_line(f"error: {result.error}" if result.error else tags or "(no tag)")
        lines.append(f"{path:<{width}}  {found}")
    return "\n".join(lines) + "\n"


def _entry(result: Tags) -> dict[str, Any]:
    tags: list[dict[str, Any]] = [{"label": label, "score": score} for label, score in result.tags]
    for tag in tags:
        for field, by_label in (("seen", result.seen), ("unsure", result.unsure), ("box", result.boxes)):
            if by_label is not None:
                tag[field] = by_label[tag["label"]]
    return {"path": str(result.path), "tags": tags} | ({"error": result.error} if result.error else {})


def _csv(results: Sequence[Tags]) -> str:
    boxed = any(result.boxes is not None for result in results)
    marks = [field for field in ("seen", "unsure") if any(getattr(result, field) is not None for result in results)]
    columns = ["path", "label", "score", *marks, *(_BOX if boxed else ()), "error"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for result in results:
        entry = _entry(result)
        image = {"path": entry["path"], "error": entry.get("error", "")}
        for tag in entry["tags"] or [{}]:
            row = image | {key: value for key, value in tag.items() if key != "box"} | tag.get("box", {})
            writer.writerow({key: csv_cell(value) if isinstance(value, str) else value for key, value in row.items()})
    return text.getvalue()
