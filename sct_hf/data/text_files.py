"""Text files of users and tools: read whole, with errors reported by line."""

import json
from pathlib import Path
from typing import Any

from sct_hf.data.names import shown
from sct_hf.data.problems import Problems
from sct_hf.yaml_text import YamlError, parse_yaml

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_ARCHIVES = {b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive", b"7z\xbc\xaf": "a 7z archive"}
_TABLES = {b"PAR1": "a Parquet file", b"\xd0\xcf\x11\xe0": "a spreadsheet", b"SQLite format": "a database"}


def read_lines(file: Path, problems: Problems, errors: str = "strict") -> list[str]:
    """Read a UTF-8 file, with or without a byte order mark, as lines with their ends.

    A line that is not UTF-8 is a problem and is returned empty, so that line numbers stay correct.

    Args:
        file: The file.
        problems: Collects the errors.
        errors: "surrogateescape" keeps bytes that are not UTF-8, as names of files have them.
    """
    data = _read(file, problems)
    if data is None:
        return []
    if data.startswith(_UTF16):
        problems.add("encoding", file, "the text is UTF-16", "save it as UTF-8")
        return []
    if (kind := _kind(data, file)) is not None:
        way = "unpack it, and name the file in it" if "archive" in kind else "save it as UTF-8 text"
        problems.add("no text", file, f"the file is {kind}", way)
        return []
    lines = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True), start=1):
        try:
            lines.append(line.decode("utf-8", errors))
        except UnicodeDecodeError as error:
            text = f"byte 0x{line[error.start]:02x} is not UTF-8, in {shown(line.rstrip().decode('latin-1'))}"
            problems.add("encoding", f"{file}, line {number}", text, "save the file as UTF-8")
            lines.append("\n")
    return lines


def read_text(file: Path, problems: Problems) -> str | None:
    """Read a UTF-8 file; return None and add a problem if it is missing, empty or not UTF-8."""
    before = len(problems.found)
    text = "".join(read_lines(file, problems))
    if len(problems.found) == before and not text.strip():
        problems.add("empty file", file, "the file is empty", "save or export it again")
    return text if len(problems.found) == before else None


def read_json(file: Path, problems: Problems) -> Any:
    """Read a JSON file; return None and add a problem if it cannot be read."""
    text = read_text(file, problems)
    if text is None:
        return None
    try:
        return json.loads(text)
    except RecursionError:
        problems.add("not JSON", file, "its values are nested too deeply", "export or save the file again")
        return None
    except ValueError as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        problems.add("not JSON", f"{file}{line}", f"not valid JSON ({error})", "export or save the file again")
        return None


def read_yaml(file: Path, problems: Problems, *, as_text: bool = False) -> Any:
    """Read a YAML file, see `parse_yaml`; None, and a problem, where it cannot be read."""
    text = read_text(file, problems)
    if text is None:
        return None
    try:
        return parse_yaml(text, as_text=as_text)
    except YamlError as error:
        place = f"{file}, line {error.line}" if error.line else file
        problems.add("not YAML", place, f"the text is not YAML ({error})", "correct it")
        return None


def _kind(data: bytes, file: Path) -> str | None:
    """The kind of a binary file, by its first bytes; None for text."""
    if data.startswith(b"PK\x03\x04") and file.suffix.lower() in (".xlsx", ".ods", ".xlsm"):
        return "a spreadsheet"
    return next((kind for start, kind in (_ARCHIVES | _TABLES).items() if data.startswith(start)), None)


def _read(file: Path, problems: Problems) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        problems.add("no file", file, "there is no such file", f"correct the path, which starts from {Path.cwd()}")
    except (OSError, ValueError) as error:  # the latter of a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        problems.add("no file", file, f"the file cannot be read ({reason})", "give a file that can")
    return None
