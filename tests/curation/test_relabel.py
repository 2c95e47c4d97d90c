"""Decisions applied to tables: what changes, what stays byte for byte, and that nothing is lost."""

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sct_hf.cli.relabel import main
from sct_hf.curation.audit_table import Row, write_audit
from sct_hf.curation.relabel import Relabelled, relabel_table
from sct_hf.curation.table_edit import Table
from sct_hf.data.problems import DataError, Problems
from sct_hf.data.registry import Request
from sct_hf.data.tables import read_records
from sct_hf.errors import InputError

NAMES = ["dog", "black cat", "Straße", "犬", "r&b", "a,b", "x|y"]
PLAIN = st.lists(st.sampled_from(NAMES[:5]), unique=True, max_size=4)
ANY = st.lists(st.sampled_from(NAMES), unique=True, max_size=4)
REQUEST = Request("table", "all")


def audit(folder: Path, *decisions: tuple[str, str, bool], word: str = "yes") -> Path:
    """An audit that decides that labels of images are present or absent."""
    path = folder / "audit.csv"
    write_audit([Row(image, label, not present, 0.5, "wrong") for image, label, present in decisions], path)
    text = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([text[0], *(f"{line}{word}" for line in text[1:])]) + "\n", encoding="utf-8")
    return path


def labels_of(path: Path) -> dict[str, tuple[set[str], set[str]]]:
    problems = Problems()
    found = read_records(path, path.suffix[1:], path.parent, REQUEST, problems)
    problems.raise_if_any()
    return {record.image: (set(record.labels), set(record.unknown)) for record in found.records}


def relabel(path: Path, *decisions: tuple[str, str, bool]) -> Relabelled:
    return relabel_table(path, audit(path.parent, *decisions), REQUEST)


STYLES: dict[str, Any] = {
    "pipe": (PLAIN, "|".join),
    "comma": (PLAIN, ", ".join),
    "semicolon": (PLAIN, " ; ".join),
    "json": (ANY, json.dumps),
    "json in letters": (ANY, lambda names: json.dumps(names, ensure_ascii=False)),
    "python": (ANY, repr),
    "tuple": (ANY, lambda names: repr(tuple(names))),
    "choices": (ANY, lambda names: json.dumps({"choices": names})),
}


@pytest.mark.parametrize("style", STYLES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_tables_of_every_style_read_as_decided_and_nothing_else_changes(style: str, data: st.DataObject) -> None:
    names, written = STYLES[style]
    before = data.draw(st.lists(names, min_size=1, max_size=5))
    quoting = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    ending = data.draw(st.sampled_from(["\n", "\r\n"]))
    bom = data.draw(st.sampled_from(["", "\ufeff"]))
    rows = [[f'im "{number}", é.jpg', written(labels), f"note {number}, kept"] for number, labels in enumerate(before)]
    rows.append(["every.jpg", json.dumps(NAMES), "has each label"])
    before.append(NAMES)
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=ending).writerows([["image", "labels", "note"], *rows])
    decisions = data.draw(
        st.lists(
            st.tuples(st.sampled_from([row[0] for row in rows[:-1]]), st.sampled_from(NAMES), st.booleans()),
            unique_by=lambda each: each[:2],
            max_size=6,
        )
    )
    expected = {row[0]: (set(labels), set[str]()) for row, labels in zip(rows, before, strict=True)}
    for image, label, present in decisions:
        (expected[image][0].add if present else expected[image][0].discard)(label)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.csv"
        path.write_bytes((bom + text.getvalue()).encode())
        was = path.read_bytes()
        done = relabel(path, *decisions)
        after = path.read_bytes()
        assert labels_of(path) == expected
        changed = [row[0] for row, labels in zip(rows, before, strict=True) if expected[row[0]][0] != set(labels)]
        assert {change.image for change in done.changes} == set(changed)
        lines = zip([None, *(row[0] for row in rows)], was.splitlines(), after.splitlines(), strict=True)
        assert all(one == other for image, one, other in lines if image not in changed)
        if changed:
            assert done.backup is not None
            assert done.backup.read_bytes() == was
        else:
            assert (done.backup, after) == (None, was)
        files = sorted(Path(folder).iterdir())
        again = relabel(path, *decisions)
        assert (again.changes, again.backup) == ([], None)
        assert path.read_bytes() == after
        assert sorted(Path(folder).iterdir()) == files


def test_a_cell_keeps_its_signs_order_and_spaces(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('image,labels\na.jpg,"zebra, dog,cat"\nb.jpg,"zebra, dog"\nc.jpg,\nd.jpg,dog\ne.jpg,ape\n')
    relabel(path, ("a.jpg", "dog", False), ("b.jpg", "ape", True), ("c.jpg", "ape", True), ("d.jpg", "dog", False))
    after = path.read_text()
    assert after == 'image,labels\na.jpg,"zebra,cat"\nb.jpg,"zebra, dog, ape"\nc.jpg,ape\nd.jpg,\ne.jpg,ape\n'


def test_columns_of_marks_keep_their_spelling(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,dog,cat,id\na.jpg,1.0,True,7\nb.jpg,0.0,False,8\nc.jpg,?,False,9\n")
    done = relabel(
        path, ("a.jpg", "dog", False), ("b.jpg", "cat", True), ("c.jpg", "dog", True), ("a.jpg", "cat", True)
    )
    assert path.read_text() == "image,dog,cat,id\na.jpg,0.0,True,7\nb.jpg,0.0,True,8\nc.jpg,1.0,False,9\n"
    assert done.already == 1
    with pytest.raises(InputError, match=r"label 'ape' is not in .*labels.csv"):
        relabel(path, ("a.jpg", "ape", True))


def test_unknown_labels_become_known(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,labels,unknown\na.jpg,dog,cat|ape\nb.jpg,dog,cat\n")
    relabel(path, ("a.jpg", "cat", True), ("b.jpg", "cat", False))
    assert path.read_text() == "image,labels,unknown\na.jpg,dog|cat,ape\nb.jpg,dog,\n"


def test_marks_with_a_column_of_unknown_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,dog,cat,unknown\na.jpg,1,0,cat\nb.jpg,0,1,\n")
    relabel(path, ("a.jpg", "cat", True))
    assert path.read_text() == "image,dog,cat,unknown\na.jpg,1,1,\nb.jpg,0,1,\n"


def test_json_lines_keep_all_but_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    lines = [
        '{"image":"a.jpg","size":1e2,"labels":["dog"],"note":{"labels":[1]}}',
        "",
        '{"labels": "dog|cat", "image": "b.jpg", "unknown": ["ape"]}',
        '{"image": "c.jpg", "labels": null}',
    ]
    path.write_text("\r\n".join(lines), newline="")
    relabel(path, ("a.jpg", "cat", True), ("b.jpg", "dog", False), ("b.jpg", "ape", True), ("c.jpg", "ape", True))
    lines[0] = lines[0].replace('["dog"]', '["dog","cat"]')
    lines[2] = '{"labels": "cat|ape", "image": "b.jpg", "unknown": []}'
    lines[3] = '{"image": "c.jpg", "labels": ["ape"]}'
    assert path.read_bytes().decode() == "\r\n".join(lines)


def test_backups_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    texts = [f"image,labels\na.jpg,{names}\nb.jpg,ape\nc.jpg,cat\n" for names in ("dog", "dog|cat", "dog|cat|ape")]
    path.write_text(texts[0])
    first, second = relabel(path, ("a.jpg", "cat", True)), relabel(path, ("a.jpg", "ape", True))
    assert path.read_text() == texts[2]
    assert [done.backup and done.backup.read_text() for done in (first, second)] == texts[:2]
    assert [done.backup and done.backup.name for done in (first, second)] == ["labels.csv.bak", "labels.csv.bak1"]


@pytest.mark.parametrize("fault", [OSError("disk full"), InputError("not as meant")])
def test_a_failure_leaves_everything_as_it_was(
    tmp_path: Path, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,labels\na.jpg,dog\nb.jpg,cat\n")
    decisions = audit(tmp_path, ("a.jpg", "cat", True))

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(Table, "require_as_meant", fail)
    with pytest.raises(type(fault)):
        relabel_table(path, decisions, REQUEST)
    assert path.read_text() == "image,labels\na.jpg,dog\nb.jpg,cat\n"
    assert {each.name for each in tmp_path.iterdir()} == {"labels.csv", "audit.csv"}


def test_a_change_that_would_move_other_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,labels\na.jpg,dog\nb.jpg,cat\n")
    decisions = audit(tmp_path, ("a.jpg", "cat", True))
    real = Table.changed
    monkeypatch.setattr(Table, "changed", lambda *args: real(*args).replace("b.jpg,cat", "b.jpg,ape"))
    with pytest.raises(InputError, match="cannot be changed without changing other rows"):
        relabel_table(path, decisions, REQUEST)
    assert path.read_text() == "image,labels\na.jpg,dog\nb.jpg,cat\n"


def test_an_image_that_the_table_lacks(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,labels\na.jpg,dog\nb.jpg,cat\n")
    with pytest.raises(DataError, match=r"audit.csv, line 3: image 'x.jpg' is not in .*labels.csv: give what the"):
        relabel(path, ("a.jpg", "cat", True), ("x.jpg", "cat", True))
    assert path.read_text() == "image,labels\na.jpg,dog\nb.jpg,cat\n"


@pytest.mark.parametrize("text", ["image,labels\na.jpg,dog\nb.jpg,cat\n", "image,dog,cat\na.jpg,1,0\nb.jpg,0,1\n"])
def test_a_label_that_the_table_lacks_is_no_new_class(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"audit.csv, line 3: label 'dgo' is not in .*labels.csv: write 'dog'"):
        relabel(path, ("a.jpg", "cat", True), ("b.jpg", "dgo", True))
    assert path.read_text() == text
    assert relabel(path, ("a.jpg", "dog", False)).changes
    assert relabel(path, ("a.jpg", "dog", False)).already == 1  # no row has it any more


def test_other_files_and_damaged_tables_are_refused(tmp_path: Path) -> None:
    decisions = audit(tmp_path, ("a.jpg", "cat", True))
    (tmp_path / "labels.txt").write_text("a.jpg dog")
    with pytest.raises(InputError, match=r"give a .csv or .jsonl file, or the folder of a training run"):
        relabel_table(tmp_path / "labels.txt", decisions, REQUEST)
    (tmp_path / "labels.csv").write_text('image,labels\na.jpg,"dog\n')
    with pytest.raises(DataError, match=r"labels\.csv, line 2: the line cannot be parsed"):
        relabel_table(tmp_path / "labels.csv", decisions, REQUEST)
    with pytest.raises(InputError, match="is no folder of a training run"):
        main([str(tmp_path), str(decisions)])
    with pytest.raises(InputError, match=r"separator is for a table, and .* is a folder: leave it out"):
        main([str(tmp_path), str(decisions), "--separator", "pipe"])


def test_the_command_says_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,what\na.jpg,dog cat\nb.jpg,red ape\n")
    decisions = audit(tmp_path, ("a.jpg", "dog", False), ("a.jpg", "ape", True), ("b.jpg", "ape", True))
    words = [str(path), str(decisions), "--image_column=file", "--label_column=what", "--separator=space"]
    assert main(words) == 0
    assert path.read_text() == "file,what\na.jpg,cat ape\nb.jpg,red ape\n"
    assert capsys.readouterr().out.splitlines() == [
        "a.jpg: − dog",
        "a.jpg: + ape",
        f"{path}: 2 labels of 1 image changed, 1 added and 1 taken out; as it was: {path}.bak",
        "1 were so already; 0 kept, 0 unsure, 0 not decided",
    ]


def test_images_that_lose_all_labels_are_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,labels\na.jpg,dog\nb.jpg,dog|cat\n")
    done = relabel(path, ("a.jpg", "dog", False), ("b.jpg", "dog", False))
    assert done.emptied == ["a.jpg"]
    assert done.lines()[-1].startswith("1 image without a label now: a.jpg; training refuses")
