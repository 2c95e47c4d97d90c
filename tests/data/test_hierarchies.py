"""Hierarchies read from files and from WordNet, and parents' targets against a slow reference."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sct_hf.data import load_data
from sct_hf.data.base import LabelledImages
from sct_hf.data.hierarchies import load_hierarchy, read_hierarchy, with_parents, write_hierarchy
from sct_hf.data.image_sources import ImageFiles
from sct_hf.data.voc import VOC_LABELS
from sct_hf.errors import InputError

LABELS = ["dog", "cat", "bus", "dining table"]


def write(folder: Path, *lines: str) -> Path:
    path = folder / "parents.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_file_with_a_header_blank_lines_and_several_parents(tmp_path) -> None:
    path = write(
        tmp_path, "Child, Parent", "dog,pet", "", "cat,pet", "pet,animal", "dog,guard", "dog,pet", 'bus,"a,b"'
    )
    expected = {"dog": ["pet", "guard"], "cat": ["pet"], "pet": ["animal"], "bus": ["a,b"]}
    assert read_hierarchy(path, LABELS) == expected
    write_hierarchy(tmp_path / "again.csv", expected)
    assert load_hierarchy(str(tmp_path / "again.csv"), LABELS) == expected


def test_names_like_formulas_are_written_as_text_and_read_back(tmp_path) -> None:
    parents = {"=dog": ["+pet", "'-x"], "@cat": ["+pet"]}
    write_hierarchy(tmp_path / "again.csv", parents)
    written = (tmp_path / "again.csv").read_text(encoding="utf-8").splitlines()
    assert written == ["child,parent", "'=dog,'+pet", "'=dog,''-x", "'@cat,'+pet"]
    assert read_hierarchy(tmp_path / "again.csv", ["=dog", "@cat"]) == parents


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["dog,pet", "bird,pet"], "line 2: 'bird' is neither a label of the data set nor a parent"),
        (["dog,pet", "cta,pet"], "line 2: 'cta' is neither .*; did you mean 'cat'?"),
        (["child,parent", "dog,dog"], "line 2: 'dog' cannot be its own parent"),
        (["dog,pet", "pet,beast", "", "beast,dog"], "line 4: closes a cycle, .*dog → .*: remove one of its rows"),
        (["dog,pet,animal"], "line 1: 'dog,pet,animal' is not child,parent"),
        (["dog,pet", "cat,"], "line 2: 'cat,' is not child,parent"),
        (["dog,DiningTable"], "line 1: 'DiningTable' would be a new label beside 'dining table'"),
        (["child,parent"], "has no rows"),
    ],
)
def test_a_wrong_file_is_told_by_line(lines: list[str], message: str, tmp_path) -> None:
    path = write(tmp_path, *lines)
    with pytest.raises(InputError, match=message) as caught:
        read_hierarchy(path, LABELS)
    assert str(path) in str(caught.value)


def test_no_such_file() -> None:
    with pytest.raises(InputError, match=r"hierarchy is 'nowhere.csv'.*wordnet, or voc"):
        load_hierarchy("nowhere.csv", LABELS)


def test_voc_has_its_four_groups() -> None:
    parents = load_hierarchy("voc", VOC_LABELS)
    groups: dict[str, list[str]] = {}
    for child, above in sorted(parents.items()):
        for group in above:
            groups.setdefault(group, []).append(child)
    assert groups == {
        "animal": ["bird", "cat", "cow", "dog", "horse", "sheep"],
        "vehicle": ["aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"],
        "indoor": ["bottle", "chair", "diningtable", "pottedplant", "sofa", "tvmonitor"],
    }
    assert set(VOC_LABELS) - set(parents) == {"person"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "one.png"
    Image.new("RGB", (2, 2)).save(path)
    return path


def images_of(targets: list[list[int]], names: list[str], image: Path) -> LabelledImages:
    ids = [str(number) for number in range(len(targets))]
    return LabelledImages(
        ImageFiles([image] * len(ids)), np.array(targets, dtype=np.int8), names, ids, "test", "train"
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.sampled_from([1, 0, -1]), min_size=4, max_size=4), min_size=1, max_size=6))
def test_parents_are_those_of_a_slow_reference(image: Path, targets: list[list[int]]) -> None:
    """Animal is new, pet is a label of the data set, thing lies over both and over the bus."""
    names = ["dog", "cat", "bus", "pet"]
    parents = {"pet": ["thing"], "dog": ["pet", "animal"], "bus": ["thing"], "cat": ["animal"], "animal": ["thing"]}
    found = with_parents(images_of(targets, names, image), parents)
    assert found.label_names == [*names, "animal", "thing"] or found.label_names == [*names, "thing", "animal"]

    def judged(*marks: int) -> int:
        return 1 if 1 in marks else 0 if set(marks) == {0} else -1

    for row, (dog, cat, bus, own_pet) in zip(found.targets(), targets, strict=True):
        pet, animal = judged(dog, own_pet), judged(dog, cat)
        mark = dict(zip(found.label_names, row, strict=True))
        expected = {"dog": dog, "cat": cat, "bus": bus, "pet": pet, "animal": animal}
        assert mark == expected | {"thing": judged(pet, bus, animal)}
    assert found.image_ids == [str(number) for number in range(len(targets))]


def test_children_that_the_data_set_lacks_are_unknown(image: Path) -> None:
    images = images_of([[1, 0], [0, 0]], ["dog", "bus"], image)
    found = with_parents(images, {"dog": ["animal"], "cat": ["animal"]})
    assert found.label_names == ["dog", "bus", "cat", "animal"]
    assert found.targets().tolist() == [[1, 0, -1, 1], [0, 0, -1, -1]]


def test_voc_parents_by_the_objects_of_its_images(voc_dir: Path) -> None:
    """An animal is there where one of its six labels is; an image of difficult animals only leaves it unknown."""
    images = load_data("voc2007", "val", data_dir=voc_dir, difficult="ignore", skip_missing_images=True)
    marks = images.targets()
    found = with_parents(images, load_hierarchy("voc", VOC_LABELS)).targets()
    assert np.array_equal(found[:, :20], marks)
    animals = marks[:, [VOC_LABELS.index(name) for name in ("bird", "cat", "cow", "dog", "horse", "sheep")]]
    assert np.array_equal(found[:, 20] == 1, (animals == 1).sum(axis=1) > 0)
    assert np.array_equal(found[:, 20] == 0, np.abs(animals).sum(axis=1) == 0)
    assert (found[:, 20] == -1).any()


# The shape of WordNet above a few words; the first synset of a word is its most usual sense.
SYNSETS = {
    "entity": [],
    "thing": ["entity"],
    "animal": ["thing"],
    "carnivore": ["animal"],
    "domestic animal": ["animal"],
    "dog": ["carnivore", "domestic animal"],
    "cat": ["carnivore"],
    "horse": ["domestic animal"],
    "rodent": ["animal"],
    "mouse": ["rodent"],
    "vehicle": ["thing"],
    "motor vehicle": ["vehicle"],
    "bus": ["motor vehicle"],
    "car": ["motor vehicle"],
}
WORDS = {"autobus": "bus", "dining table": "thing"}


def lexicon() -> str:
    """The synsets as a lexicon in WN-LMF, which wn reads; `WORDS` are further words for some."""
    identifier = {name: f"tiny-{number}-n" for number, name in enumerate(SYNSETS)}
    words = {**{name: name for name in SYNSETS}, **WORDS}
    entries = "".join(
        f'<LexicalEntry id="tiny-e{number}"><Lemma writtenForm="{word}" partOfSpeech="n"/>'
        f'<Sense id="tiny-s{number}" synset="{identifier[name]}"/></LexicalEntry>'
        for number, (word, name) in enumerate(words.items())
    )
    synsets = "".join(
        f'<Synset id="{identifier[name]}" ili="" partOfSpeech="n">'
        + "".join(f'<SynsetRelation relType="hypernym" target="{identifier[over]}"/>' for over in above)
        + "</Synset>"
        for name, above in SYNSETS.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.0.dtd">\n'
        '<LexicalResource xmlns:dc="http://purl.org/dc/elements/1.1/"><Lexicon id="tiny" label="Tiny" language="en" '
        f'email="a@example.org" license="none" version="1">{entries}{synsets}</Lexicon></LexicalResource>'
    )


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory: pytest.TempPathFactory):
    wn = pytest.importorskip("wn")
    folder = tmp_path_factory.mktemp("wordnet")
    before, wn.config.data_directory = wn.config.data_directory, folder / "data"
    (folder / "tiny.xml").write_text(lexicon(), encoding="utf-8")
    wn.add(folder / "tiny.xml", progress_handler=None)
    yield
    wn.config.data_directory = before


@pytest.mark.usefixtures("wordnet")
def test_wordnet_gives_labels_what_parts_them() -> None:
    """Left out: what lies over all (entity, thing), over one (rodent), or over the same labels as its child does."""
    labels = ["dog", "cat", "horse", "mouse", "bus", "Car", "xyzzy"]
    assert load_hierarchy("wordnet", labels) == {
        "dog": ["carnivore", "domestic animal"],
        "cat": ["carnivore"],
        "horse": ["domestic animal"],
        "mouse": ["animal"],
        "bus": ["motor vehicle"],
        "Car": ["motor vehicle"],
        "carnivore": ["animal"],
        "domestic animal": ["animal"],
    }
    assert load_hierarchy("wordnet:tiny:1", labels) == load_hierarchy("wordnet", labels)


@pytest.mark.usefixtures("wordnet")
def test_labels_of_the_data_set_are_parents_of_others() -> None:
    assert load_hierarchy("wordnet", ["dog", "animal", "motor_vehicle", "bus", "autobus"]) == {
        "dog": ["animal"],
        "bus": ["motor_vehicle"],
        "autobus": ["motor_vehicle"],
    }


@pytest.mark.usefixtures("wordnet")
def test_what_wordnet_cannot_do_is_told() -> None:
    with pytest.raises(InputError, match=r"no lexicon other:1 .*found: tiny:1"):
        load_hierarchy("wordnet:other:1", LABELS)
    with pytest.raises(InputError, match="nothing common to the labels xyzzy, plugh"):
        load_hierarchy("wordnet", ["xyzzy", "plugh"])


def test_without_a_lexicon_the_remedy_is_told(tmp_path, monkeypatch) -> None:
    wn = pytest.importorskip("wn")
    monkeypatch.setattr(wn.config, "data_directory", tmp_path)
    with pytest.raises(InputError, match=r"no lexicon of English .*python -m wn download oewn:2024"):
        load_hierarchy("wordnet", LABELS)


def test_a_file_that_is_no_text_or_names_no_words(tmp_path) -> None:
    for data, message in (
        (b"dog,p\xe9t\n", "line 1: byte 0xe9 is not UTF-8"),
        (b"PK\x03\x04", "the file is a zip archive"),
        (b"dog,pet\ncat,*+*\n", r"line 2: '\*\+\*' holds no word"),
    ):
        (tmp_path / "h.csv").write_bytes(data)
        with pytest.raises(InputError, match=message):
            read_hierarchy(tmp_path / "h.csv", LABELS)
    with pytest.raises(InputError, match="there is no such file"):
        load_hierarchy("h" * 5000, LABELS)


def test_a_long_hierarchy(tmp_path) -> None:
    """A test that hangs where time grows with the square of the number of rows."""
    rows = [f"dog,above 0 {n}" for n in range(5000)] + [f"above {n} 0,above {n + 1} 0" for n in range(5000)]
    found = read_hierarchy(write(tmp_path, *rows), LABELS)
    assert len(found["dog"]) == 5000
    rows.append("above 5000 0,above 2500 0")
    with pytest.raises(InputError, match="line 10001: closes a cycle"):
        read_hierarchy(write(tmp_path, *rows), LABELS)
