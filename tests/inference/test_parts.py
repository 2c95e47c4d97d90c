"""Folders of parts: what is in them after runs that end, fail and are stopped, against the rows that were given."""

import json
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sct_hf import InputError
from sct_hf.files import atomic_write, remove_partial
from sct_hf.inference import parts as module
from sct_hf.inference.lookup import Lookup
from sct_hf.inference.outputs import hidden_folder, in_file, in_folder, printed
from sct_hf.inference.row_files import ROW_FORMATS, Row
from sct_hf.inference.rows import Columns

COLUMNS = Columns(unsure=True, boxes=True)
SETTINGS = {"schema": 1, "model": "m", "weights": "a1", "top_k": 3}
ODD = ["plain.jpg", "=sum.jpg", "a,b\n\u2028ü.jpg", "'quoted'.jpg", "\rx.jpg", "raw\udcff.jpg", "-1#3", "snow\u2603"]


def row(name: str, *tags: str, error: str | None = None) -> Row:
    box = {"xmin": 0, "ymin": 1, "xmax": 2, "ymax": 3}
    marks = {
        "unsure": [len(tag) > 3 for tag in tags],
        "boxes": [box | {"xmin": number} for number in range(len(tags))],
    }
    return {
        "path": name,
        "labels": list(tags),
        "scores": [0.5**each for each in range(len(tags))],
        **marks,
        "error": error,
    }


ROWS = [row(name, *["dog", "-cat", "wild boar"][: number % 4]) for number, name in enumerate(ODD)]
ROWS.append(row("gone.jpg", error="no such\nfile"))


def contents(folder: Path, form: str) -> dict[str, list[Row]]:
    read = ROW_FORMATS[form].read
    return {path.name: list(read(path)) for path in sorted(folder.glob("part-*"))}


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_second_run_skips_what_is_done_and_tries_failures_again(tmp_path, form: str) -> None:
    folder = tmp_path / "results"
    with in_folder(folder, form, COLUMNS, SETTINGS, Lookup()) as add:
        for one in ROWS:
            add(one)
    (first,) = contents(folder, form).values()
    assert len(first) == len(ROWS)
    assert [one["labels"] for one in first] == [one["labels"] for one in ROWS]
    for found, given in zip(first, ROWS, strict=True):
        assert (found["scores"], found["error"]) == (given["scores"], given["error"])
        assert found["path"] == ROW_FORMATS[form].key(given["path"])
        if given["labels"]:
            assert (found["unsure"], found["boxes"]) == (given["unsure"], given["boxes"])

    lookup = Lookup()
    with in_folder(folder, form, COLUMNS, SETTINGS | {"model": "moved"}, lookup) as add:
        asked = [lookup.ask(name) for name in [*ODD, "gone.jpg", "new.jpg", "new.jpg", ODD[0]]]
        assert asked == [False] * len(ODD) + [True, True, False, False]
        assert (lookup.done, lookup.repeated) == (len(ODD), 2)
        add(row("gone.jpg", "dog"))
        add(row("new.jpg"))
    found = contents(folder, form)
    assert list(found) == [f"part-000000.{form}", f"part-000001.{form}"]
    assert [one["error"] for one in found[f"part-000000.{form}"]] == [None] * len(ODD)
    assert [one["path"] for one in found[f"part-000001.{form}"]] == ["gone.jpg", "new.jpg"]
    assert sorted(path.name for path in folder.iterdir()) == ["_run.json", *sorted(found)]


def test_parts_are_written_by_number_and_by_time_and_when_a_run_fails(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    now = 0.0
    form = ROW_FORMATS["jsonl"]

    def sizes() -> list[int]:
        return [len(rows) for rows in contents(tmp_path, "jsonl").values()]

    def run() -> None:
        nonlocal now
        with module.Parts(tmp_path, form, COLUMNS, SETTINGS, Lookup(), clock=lambda: now) as parts:
            for number in range(7):
                parts.add(row(str(number)))
            assert sizes() == [3, 3]
            now = 59.9
            parts.add(row("7"))
            assert sizes() == [3, 3]
            now = 60.0
            parts.add(row("8"))
            assert sizes() == [3, 3, 3]
            parts.add(row("9"))
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert sizes() == [3, 3, 3, 1]


def stop_after(rows: list[Row], path: Path, form: str) -> None:
    with in_file(path, form, COLUMNS, SETTINGS, Lookup()) as add:
        for one in rows:
            add(one)
        raise KeyError


def test_folders_that_are_not_to_be_gone_on_with_are_refused_and_stay(tmp_path) -> None:
    folder = tmp_path / "results"

    def begin(settings=SETTINGS, form="jsonl", folder=folder) -> None:
        with in_folder(folder, form, COLUMNS, settings, Lookup()) as add:
            add(row("a"))

    begin()
    with (
        in_folder(tmp_path / "busy", "jsonl", COLUMNS, SETTINGS, Lookup()),
        pytest.raises(InputError, match=r"busy', where another run is working: wait"),
    ):
        begin(folder=tmp_path / "busy")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        InputError, match=r"settings: weights \(\"a1\" there, \"b\" here\), top_k \(3 there, 4 here\)\."
    ):
        begin({"top_k": 4, "weights": "b", "schema": 1})
    with pytest.raises(InputError, match=r"format \(\"jsonl\" there, \"csv\" here\)"):
        begin(form="csv")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(
        InputError, match=r"holds 'a.jpg' but no results of an earlier run: give a new or empty folder"
    ):
        begin(folder=tmp_path / "photos")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "part-000000.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"'part-000000.jsonl' cannot be read .*: remove it"):
        begin()
    (folder / "_run.json").write_text("{")
    with pytest.raises(InputError, match=r"whose _run.json is damaged"):
        begin()


@pytest.mark.parametrize("content", ["1", "[1]", '{"path": "a", "tags": [1]}', "[" * 100_000])
def test_a_part_that_is_not_ours_is_named(tmp_path, content: str) -> None:
    with in_folder(tmp_path, "jsonl", COLUMNS, SETTINGS, Lookup()) as add:
        add(row("a"))
    (tmp_path / "part-000000.jsonl").write_text(content)
    with (
        pytest.raises(InputError, match=r"'part-000000.jsonl' cannot be read .*: remove it"),
        in_folder(tmp_path, "jsonl", COLUMNS, SETTINGS, Lookup()),
    ):
        pass
    (tmp_path / "_run.json").write_text(content)
    with (
        pytest.raises(InputError, match=r"_run.json is damaged|results of other settings"),
        in_folder(tmp_path, "jsonl", COLUMNS, SETTINGS, Lookup()),
    ):
        pass


def test_a_part_that_only_has_failures_goes(tmp_path) -> None:
    for _ in range(2):
        with in_folder(tmp_path, "parquet", COLUMNS, SETTINGS, Lookup()) as add:
            add(row("a", error="no"))
    assert list(contents(tmp_path, "parquet").values()) == [[row("a", error="no")]]


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "table", "parquet"])
def test_a_file_is_whole_or_absent_and_a_stopped_run_goes_on(tmp_path, form: str) -> None:
    path = tmp_path / f"tags.{form}"
    path.write_text("before")
    with pytest.raises(KeyError):
        stop_after(ROWS[:5], path, form)
    assert path.read_text() == "before"
    lookup = Lookup()
    with in_file(path, form, COLUMNS, SETTINGS, lookup) as add:
        assert [lookup.ask(one["path"]) for one in ROWS] == [False] * 5 + [True] * 4
        for one in ROWS[5:]:
            add(one)
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]
    ROW_FORMATS[form].write(ROWS, COLUMNS, tmp_path / "at once")
    if form == "parquet":
        assert pq.read_table(path) == pq.read_table(tmp_path / "at once")
        assert pq.read_table(path)["scores"].to_pylist() == [one["scores"] for one in ROWS]
    else:
        assert path.read_bytes() == (tmp_path / "at once").read_bytes()


def test_a_stopped_file_of_other_settings_says_what_to_remove(tmp_path) -> None:
    path = tmp_path / "tags.csv"
    with pytest.raises(KeyError):
        stop_after(ROWS[:2], path, "csv")
    told = r"output is '.*/tags\.csv', with its parts in '.*/\.tags\.csv\.parts', .*top_k \(3 there, 4 here\)"
    with (
        pytest.raises(InputError, match=told + r".*another file, or remove the folder of parts$"),
        in_file(path, "csv", COLUMNS, SETTINGS | {"top_k": 4}, Lookup()),
    ):
        pass


def test_the_end_of_a_run_leaves_the_lock_of_the_next(tmp_path, monkeypatch) -> None:
    """Another run begins at once when the lock of this one is gone."""
    lock = hidden_folder(tmp_path / "a.csv") / module.LOCK
    begun: list[Path] = []

    def then_another(remove):
        def removed(*arguments, **options) -> None:
            remove(*arguments, **options)
            if not begun and not lock.exists():
                begun.append(lock)
                lock.parent.mkdir(exist_ok=True)
                lock.write_text("of another run")

        return removed

    with in_file(tmp_path / "a.csv", "csv", COLUMNS, SETTINGS, Lookup()) as add:
        add(row("a"))
        monkeypatch.setattr(shutil, "rmtree", then_another(shutil.rmtree))
        monkeypatch.setattr(Path, "unlink", then_another(Path.unlink))
    assert lock.read_text() == "of another run"


def test_what_a_killed_run_left_beside_its_file_goes(tmp_path) -> None:
    """Only what was to be this file: another run may be writing the others."""
    kept = [".partial-tags-more-abcdefgh.csv", ".partial-tags-abcdefgh.json", ".partial-other-abcdefgh.csv"]
    for name in [".partial-tags-abcdef_1.csv", *kept]:
        (tmp_path / name).touch()
    with in_file(tmp_path / "tags.csv", "csv", COLUMNS, SETTINGS, Lookup()) as add:
        add(row("a"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "tags.csv"])
    with atomic_write(tmp_path / "tags.csv") as temporary:
        remove_partial(tmp_path, tmp_path / "tags.csv")
        assert not temporary.exists()  # the pattern fits the names that atomic_write gives
        temporary.touch()


def test_nothing_stays_of_a_file_without_rows(tmp_path) -> None:
    with pytest.raises(KeyError):
        stop_after([], tmp_path / "a.csv", "csv")
    assert not hidden_folder(tmp_path / "a.csv").exists()


def test_what_is_printed_is_what_a_file_has(tmp_path, capsys) -> None:
    for form in ("csv", "json", "jsonl", "table"):
        ROW_FORMATS[form].write(ROWS, COLUMNS, tmp_path / form)
        with printed(sys.stdout, form, COLUMNS) as add:
            for one in ROWS:
                add(one)
        assert capsys.readouterr().out == (tmp_path / form).read_text()
    assert [entry["path"] for entry in json.loads((tmp_path / "json").read_text())] == [one["path"] for one in ROWS]
