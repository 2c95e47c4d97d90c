"""Tasks for Label Studio, with predictions to correct: https://labelstud.io/guide/predictions."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from sct_hf.escaping import in_lines
from sct_hf.files import atomic_write

_CONTROL, _OBJECT = "labels", "image"  # names in the labelling configuration


@dataclass(frozen=True)
class Task:
    """An image to label.

    Attributes:
        file: Its file.
        labels: Labels to propose.
        score: Sureness of the proposal, in [0, 1]; Label Studio can sort by it.
    """

    file: str
    labels: Sequence[str]
    score: float


def write_tasks(tasks: Sequence[Task], label_names: Sequence[str], path: Path, *, source: str) -> Path | None:
    """Write tasks, and beside them `<name>.xml`, the labelling configuration of their project.

    Label Studio serves local files below the folder in its environment variable LOCAL_FILES_DOCUMENT_ROOT, if
    LOCAL_FILES_SERVING_ENABLED is true.

    Args:
        tasks: The images, in the order to look at.
        label_names: All labels.
        path: The JSON file to write.
        source: Name of what proposes the labels (`model_version`).

    Returns:
        The folder for LOCAL_FILES_DOCUMENT_ROOT; None without tasks.
    """
    folders = [os.path.dirname(os.path.abspath(task.file)) for task in tasks]
    root = Path(os.path.commonpath(folders)) if folders else None
    rows = [_task(task, os.path.relpath(os.path.abspath(task.file), root), source) for task in tasks]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8", errors="replace")
    with atomic_write(path.with_suffix(".xml")) as temporary:
        temporary.write_text(labelling_configuration(label_names), encoding="utf-8", errors="replace")
    return root


def _task(task: Task, below: str, source: str) -> dict[str, Any]:
    address = "/data/local-files/?d=" + quote(below.replace(os.sep, "/"), safe="/", errors="surrogateescape")
    result = {
        "from_name": _CONTROL,
        "to_name": _OBJECT,
        "type": "choices",
        "value": {"choices": list(task.labels)},
    }
    prediction = {"model_version": source, "score": task.score, "result": [result] if task.labels else []}
    return {"data": {_OBJECT: address}, "predictions": [prediction]}


def labelling_configuration(label_names: Iterable[str]) -> str:
    """The XML of a Label Studio project in which an image gets any number of these labels."""
    choices = "".join(f"    <Choice value={quoteattr(in_lines(name))}/>\n" for name in label_names)
    return (
        "<View>\n"
        f'  <Image name="{_OBJECT}" value="${_OBJECT}"/>\n'
        f'  <Choices name="{_CONTROL}" toName="{_OBJECT}" choice="multiple" showInline="true">\n'
        f"{choices}  </Choices>\n"
        "</View>\n"
    )
