"""Suggestions as files: a table to fill in, all tags, tasks for Label Studio, and a page."""

import csv
from pathlib import Path

from sct_hf.curation.label_studio_tasks import Task, write_tasks
from sct_hf.curation.suggest import Suggestions
from sct_hf.curation.suggest_page import write_page_of
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_lines
from sct_hf.errors import InputError
from sct_hf.escaping import csv_cell, in_lines
from sct_hf.files import atomic_write
from sct_hf.inference.files import common_folder, path_below
from sct_hf.inference.formats import format_tags
from sct_hf.inference.tagger import Tags


def require_no_labels(folder: Path) -> None:
    """Refuse a folder whose `suggestions.csv` has labels that someone filled in, with any usual separator.

    Raises:
        InputError: It has, or cannot be read.
    """
    path, problems = folder / "suggestions.csv", Problems()
    if not path.exists():
        return
    lines = read_lines(path, problems)
    problems.raise_if_any()
    separator = max(",;\t", key=lines[0].count) if lines else ","
    rows = csv.DictReader(lines, delimiter=separator)
    if filled := sum(bool((row.get("labels") or "").strip()) for row in rows):
        raise InputError(
            f"output has {path}, which holds labels of images ({filled}): move the file, or give another --output"
        )


def write_suggestions(found: Suggestions, folder: Path, *, source: str) -> list[Path]:
    """Write `suggestions.csv`, `suggestions.html`, `tags.csv`, and `tasks.json` for Label Studio with `tasks.xml`.

    `suggestions.csv` has an empty column `labels` to fill in; it is then a table for `sct-hf train`.

    Args:
        found: The suggestions.
        folder: The folder to write into; files of these names are replaced.
        source: Name of the checkpoint.

    Returns:
        The files.

    Raises:
        InputError: The folder cannot be written.
    """
    images = found.images
    root = common_folder(images.paths)
    try:
        with atomic_write(folder / "suggestions.csv") as temporary, open(
            temporary, "w", encoding="utf-8", errors="replace", newline=""
        ) as file:  # fmt: skip
            writer = csv.writer(file)
            writer.writerow(["image", "labels", "suggested", "reason"])
            for one in found.chosen:
                scored = "; ".join(f"{name} {score:.2f}" for name, score in one.tags)
                cells = map(csv_cell, map(in_lines, ("", scored, one.reason)))
                writer.writerow([_image_cell(path_below(images.paths[one.row], root).as_posix()), *cells])
        with atomic_write(folder / "tags.csv") as temporary:
            every = [Tags(path, tags) for path, tags in zip(images.paths, found.tags, strict=True)]
            temporary.write_text(format_tags(every, "csv"), encoding="utf-8", errors="replace")
        tasks = [
            Task(str(images.paths[one.row]), [name for name, _ in one.tags], float(images.scores[one.row].max()))
            for one in found.chosen
        ]
        write_tasks(tasks, found.label_names, folder / "tasks.json", source=source)
        write_page_of(found, folder / "suggestions.html", source)
    except OSError as error:
        raise InputError(f"output is {str(folder)!r}, which cannot be written ({error})") from error
    return [folder / name for name in ("suggestions.html", "suggestions.csv", "tags.csv", "tasks.json")]


def _image_cell(name: str) -> str:
    """The path of an image, which stays one: a spreadsheet reads none that begins with a dot as a formula."""
    return name if csv_cell(name) == name else f"./{name}"
