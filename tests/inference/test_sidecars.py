"""Sidecars: what exiftool reads of them, what stays of other programs' files, and which images are done."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sct_hf import InputError
from sct_hf.inference.sidecars import Sidecars
from sct_hf.inference.tagger import Tags
from sct_hf.inference.xmp import OWN, merged, own_fact

SETTINGS = {"model": "org/tagger", "weights": "a1", "top_k": 3}
TAGS = [("dog", 0.75), ("potted <plant> & \u2603", 0.5)]
FOREIGN = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<!-- by another program -->
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="uuid:1" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:DC="http://purl.org/dc/elements/1.1/"
    xmlns:darktable="http://darktable.sf.net/" xmp:Rating="4" darktable:history_end="7">
   <DC:subject><rdf:Bag><rdf:li>holiday</rdf:li><rdf:li>dog</rdf:li></rdf:Bag></DC:subject>
   <DC:title><rdf:Alt><rdf:li xml:lang="x-default">At the lake</rdf:li></rdf:Alt></DC:title>
   <darktable:history><rdf:Seq><rdf:li darktable:num="0" darktable:params="gz02"/></rdf:Seq></darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")


RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
SUBJECT = "<dc:subject><r:Bag>{}</r:Bag></dc:subject>"


def exif(path: Path, *options: str) -> dict[str, object]:
    command = ["exiftool", "-json", "-struct", "-all", *options, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)[0]


def xmp(properties: str, attributes: str = "") -> bytes:
    """An XMP file of another program, with another prefix for RDF."""
    spaces = f'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:own="{OWN}" xmlns:p="urn:p"'
    return f'<r:RDF xmlns:r="{RDF}"><r:Description {spaces} {attributes}>{properties}</r:Description></r:RDF>'.encode()


def keywords(content: bytes) -> list[str | None]:
    """By another parser."""
    spaces = {"dc": "http://purl.org/dc/elements/1.1/", "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#"}
    return [entry.text for entry in ElementTree.fromstring(content).findall(".//dc:subject/rdf:Bag/rdf:li", spaces)]


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "a b.JPG"
    path.write_bytes(b"not to be touched")
    return path


@needs_exiftool
def test_exiftool_reads_the_tags(photo) -> None:
    written = Sidecars("xmp", SETTINGS).write(Tags(photo, TAGS))
    assert written == photo.with_name("a b.JPG.xmp")
    found = exif(written)
    assert found["Subject"] == [label for label, _ in TAGS]
    assert found["Scores"] == [0.75, 0.5]
    assert found["Model"] == "org/tagger"
    assert photo.read_bytes() == b"not to be touched"


@needs_exiftool
def test_fields_and_keywords_of_other_programs_stay(photo) -> None:
    file = photo.with_name("a b.JPG.xmp")
    file.write_text(FOREIGN, encoding="utf-8")
    before = exif(file)
    sidecars = Sidecars("xmp", SETTINGS)
    sidecars.write(Tags(photo, TAGS))
    first = exif(file)
    assert first["Subject"] == ["holiday", "dog", TAGS[1][0]]
    for name in set(before) - {"Subject", "FileSize"}:
        if not name.startswith("File"):
            assert first[name] == before[name], name
    assert (first["Rating"], first["Title"], first["History_end"]) == (4, "At the lake", 7)
    assert "<!-- by another program -->" in file.read_text(encoding="utf-8")

    sidecars.write(Tags(photo, [("cat", 0.9)]))  # own keywords are replaced; dog was another program's
    assert exif(file)["Subject"] == ["holiday", "dog", "cat"]
    edited = file.read_text(encoding="utf-8").replace(">holiday<", ">work<")
    file.write_text(edited, encoding="utf-8")
    sidecars.write(Tags(photo, []))
    assert exif(file)["Subject"] == ["work", "dog"]


@needs_exiftool
@pytest.mark.parametrize("layout", ["Compact=NoIndent", "Compact=Shorthand"])
def test_tags_can_be_replaced_after_exiftool_changed_the_file(photo, layout: str) -> None:
    sidecars = Sidecars("xmp", SETTINGS)
    file = sidecars.write(Tags(photo, TAGS))
    edit = ["exiftool", "-overwrite_original", "-api", layout, "-XMP:Rating=3", "-XMP-dc:Subject+=holiday", file]
    subprocess.run(edit, capture_output=True, check=True)
    assert sidecars.is_done(str(photo))
    changed = Sidecars("xmp", SETTINGS | {"top_k": 1})
    for _ in range(2):
        changed.write(Tags(photo, [("cat", 0.9)]))
        assert changed.is_done(str(photo))
        assert not sidecars.is_done(str(photo))
        found = exif(file, "-validate", "-warning", "-error", "-a")
        assert "Error" not in found
        assert "Warning" not in found
        assert found["Subject"] == ["holiday", "cat"]
        assert [found[name] for name in ("Rating", "Labels", "Scores", "Model")] == [3, ["cat"], [0.9], "org/tagger"]
        ElementTree.fromstring(file.read_bytes())


def test_own_properties_in_any_layout_are_read_and_replaced() -> None:
    written = xmp(
        SUBJECT.format("<r:li>dog</r:li><r:li>holiday</r:li>")
        + "<own:Keywords><r:Bag><r:li>dog</r:li></r:Bag></own:Keywords>",
        'own:Model="m" own:Settings="s"',
    )
    split = written.replace(b"<own:", f'</r:Description><r:Description xmlns:own="{OWN}"><own:'.encode(), 1)
    for text in (written, split):
        assert own_fact(text, "Settings") == "s"
        again = merged(text, [("cat", 0.5)], {"Settings": "t"})
        assert keywords(again) == ["holiday", "cat"]
        assert own_fact(again, "Settings") == "t"
        assert b'"s"' not in again
        assert again.count(b"Settings") == 2  # one element
        assert merged(again, [("cat", 0.5)], {"Settings": "t"}) == again


def test_no_prefix_is_taken_for_granted() -> None:
    unprefixed = f'<RDF xmlns="{RDF}"/>'.encode()
    others = f'<x xmlns:rdf="urn:1" xmlns:dc="urn:2" xmlns:sct="urn:3">{unprefixed.decode()}</x>'.encode()
    held = xmp(f"<dc:subject><Bag xmlns='{RDF}'><li>holiday</li></Bag></dc:subject>")
    for text, words in ((unprefixed, ["dog"]), (others, ["dog"]), (held, ["holiday", "dog"])):
        found = merged(text, TAGS[:1], {"Settings": "s"})
        assert keywords(found) == words
        assert own_fact(found, "Settings") == "s"


def test_what_other_programs_wrote_stays_node_by_node() -> None:
    qualified = (
        '<r:li r:parseType="Resource"><r:value>holiday</r:value><p:by>me</p:by></r:li><r:li p:by="me">dog</r:li>'
    )
    short = '<r:li r:value="work" p:by="me"/>'
    inner = (
        f"<p:Pantry><r:Bag><r:li><r:Description>{SUBJECT.format('<r:li>cat</r:li>')}</r:Description></r:li></r:Bag>"
    )
    text = xmp(SUBJECT.format(qualified + short) + inner + "</p:Pantry>")
    tags = [(label, 0.5) for label in ("holiday", "work", "dog", "cat")]
    for facts in ({"Settings": "s"}, {"Settings": "t"}):
        found = merged(text, tags, facts).decode()
        for part in (qualified, short, inner):
            assert part in found
        assert found.count(">cat</rdf:li>") == 2  # in Keywords and Labels
        assert found.count("<r:li>cat</r:li>") == 2  # in the inner list and, added, in the outer
        assert own_fact(found.encode(), "Settings") == facts["Settings"]
        text = found.encode()
    assert "<r:li>cat</r:li>" in merged(text, [], {}).decode()


def test_a_keyword_that_another_program_added_too_stays() -> None:
    once = merged(None, TAGS[:1], {})
    twice = once.replace(b"<rdf:li>dog</rdf:li>", b"<rdf:li>dog</rdf:li><rdf:li>dog</rdf:li>", 1)
    assert keywords(merged(twice, TAGS[:1], {})) == ["dog"]
    assert keywords(merged(merged(twice, TAGS[:1], {}), [], {})) == ["dog"]


@given(st.text("a\r\n\t <>&\"'\u2028\ue000", max_size=8))
def test_text_of_other_programs_stays_to_the_character(text: str) -> None:
    escaped = "".join(f"&#{ord(character)};" for character in text)
    found = ElementTree.fromstring(merged(xmp(f"<p:b>{escaped}</p:b>", f'p:a="{escaped}"'), TAGS, {}))
    assert (found[0].get("{urn:p}a"), found[0].findtext("{urn:p}b")) == (text, text)


def test_writing_twice_changes_nothing_and_replaces_old_tags() -> None:
    facts = {"Model": "m", "Settings": "s"}
    once = merged(None, TAGS, facts)
    assert merged(once, TAGS, facts) == once
    assert keywords(merged(once, [("cat", 1.0)], facts)) == ["cat"]
    assert keywords(merged(once, [], facts)) == []
    foreign = merged(FOREIGN.encode(), TAGS, facts)
    assert merged(foreign, TAGS, facts) == foreign
    assert keywords(foreign) == ["holiday", "dog", TAGS[1][0]]
    assert keywords(merged(None, [("a\x00\ud800b", 1.0)], facts)) == ["ab"]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
DAMAGED = {
    "<x>": "it is no XML",
    BOMB: "it declares a document type",
    "<x/>": "it has no RDF of XMP",
    "<x>" * 2000 + "</x>" * 2000: "it is nested more than 100 deep",
    '<?xml version="1.0" encoding="klingon"?><x/>': "it is no XML",
    xmp("<dc:subject>holiday</dc:subject>").decode(): "its dc:subject is no list of keywords",
    xmp("", 'dc:subject="holiday"').decode(): "its dc:subject is no list of keywords",
}


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_what_is_no_xmp_is_left_as_it_is(photo, text: str) -> None:
    file = photo.with_name("a b.JPG.xmp")
    file.write_text(text)
    sidecars = Sidecars("xmp", SETTINGS)
    assert not sidecars.is_done(str(photo))
    with pytest.raises(InputError, match=f"'a b.JPG.xmp' was left as it is: {DAMAGED[text]}"):
        sidecars.write(Tags(photo, TAGS))
    assert file.read_text() == text


def test_a_json_file_of_another_program_is_left_as_it_is(photo) -> None:
    file = photo.with_name("a b.JPG.json")
    sidecars = Sidecars("json", SETTINGS)
    for text in ('{"title": "a b.JPG", "photoTakenTime": {}}', "[1]", "no json", "\xff", "[" * 100_000):
        file.write_text(text, encoding="latin-1")
        assert not sidecars.is_done(str(photo))
        with pytest.raises(InputError, match=r"it is another program's file; give --sidecars xmp, or --output"):
            sidecars.write(Tags(photo, TAGS))
        assert file.read_text(encoding="latin-1") == text
    file.unlink()
    sidecars.write(Tags(photo, TAGS))
    sidecars.write(Tags(photo, TAGS[:1]))
    assert json.loads(file.read_text())["tags"] == [{"label": "dog", "score": 0.75}]


@pytest.mark.parametrize("kind", ["json", "xmp"])
def test_a_file_of_white_space_is_written_anew(photo, kind: str) -> None:
    sidecars = Sidecars(kind, SETTINGS)
    file = sidecars.write(Tags(photo, TAGS))
    fresh = file.read_bytes()
    assert sidecars.empty == 0
    for count, content in enumerate((b"", b" \r\n\t"), 1):
        file.write_bytes(content)
        assert not sidecars.is_done(str(photo))
        sidecars.write(Tags(photo, TAGS))
        assert file.read_bytes() == fresh
        assert sidecars.empty == count


@pytest.mark.parametrize("kind", ["json", "xmp"])
def test_a_link_stays_and_its_file_is_written(photo, kind: str) -> None:
    sidecars = Sidecars(kind, SETTINGS)
    apart = photo.parent / "apart"
    apart.mkdir()
    link, file, name = photo.with_name(f"{photo.name}.{kind}"), apart / f"1.{kind}", f"2.{kind}"
    link.symlink_to(Path("apart") / name)
    (apart / name).symlink_to(file.name)  # a link to a link, and for now to no file
    left = apart / f".partial-1-abcd_123.{kind}"
    left.touch()
    os.utime(left, (1, 1))
    for tags in (TAGS, TAGS[:1]):
        assert sidecars.write(Tags(photo, tags)) == link
        assert (os.readlink(link), os.readlink(apart / name)) == (f"apart/{name}", file.name)
        assert not file.is_symlink()
        assert b"dog" in file.read_bytes()
        assert sidecars.is_done(str(photo))
    assert b"potted" not in file.read_bytes()
    left.touch()
    os.utime(left, (1, 1))
    Sidecars(kind, SETTINGS).write(Tags(photo, TAGS))
    assert sorted(path.name for path in apart.iterdir()) == [file.name, name]
    for nowhere in ("gone/1.xmp", link.name):
        link.unlink()
        link.symlink_to(nowhere)
        with pytest.raises(InputError, match=rf"left as it is: it is a link to '{nowhere}', where no file can be"):
            sidecars.write(Tags(photo, TAGS))
        assert os.readlink(link) == nowhere


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("kind", ["json", "xmp"])
def test_a_file_keeps_its_permissions(photo, kind: str) -> None:
    sidecars = Sidecars(kind, SETTINGS)
    file = sidecars.write(Tags(photo, TAGS))
    photo.with_name("new").touch()
    assert file.stat().st_mode == photo.with_name("new").stat().st_mode  # a new one has the usual ones
    for mode in (0o640, 0o664, 0o600):
        file.chmod(mode)
        sidecars.write(Tags(photo, TAGS[:1]))
        assert stat.S_IMODE(file.stat().st_mode) == mode


def test_keywords_are_the_words_of_labels(photo) -> None:
    words = {"diningtable": "dining table", "tv": "screen", "screen": "screen"}
    tags = [(label, 0.5) for label in ("diningtable", "tv", "screen", "dog")]
    sidecars = Sidecars("xmp", SETTINGS, words)
    for _ in range(2):
        content = sidecars.write(Tags(photo, tags)).read_bytes()
        assert keywords(content) == ["dining table", "screen", "dog"]
        assert b"diningtable" in content  # among the scores by label
    assert keywords(sidecars.write(Tags(photo, tags[3:])).read_bytes()) == ["dog"]


@pytest.mark.parametrize("kind", ["json", "xmp"])
def test_an_image_is_done_by_a_sidecar_of_the_same_settings(photo, kind: str) -> None:
    sidecars = Sidecars(kind, SETTINGS)
    assert not sidecars.is_done(str(photo))
    sidecars.write(Tags(photo, TAGS))
    assert sidecars.is_done(str(photo))
    assert Sidecars(kind, SETTINGS | {"model": "moved"}).is_done(str(photo))
    assert not Sidecars(kind, SETTINGS | {"top_k": 4}).is_done(str(photo))
    with pytest.raises(InputError, match="no file that could have a sidecar"):
        sidecars.write(Tags(Path("shard.parquet#1"), TAGS))


@pytest.mark.parametrize("kind", ["json", "xmp"])
def test_what_a_killed_run_left_half_written_is_removed(photo, kind: str) -> None:
    names = [
        f".partial-{photo.name}-abcd_123.{kind}",
        f".partial-no image-abcd_123.{kind}",
        f".partial-{photo.name}-abcd_123.csv",
        f"{photo.name}-abcd_123.{kind}",
        f".partial-{photo.name}-young_12.{kind}",
    ]
    for name in names:
        photo.with_name(name).write_text("half")
        changed = 4e9 if "young" in name else 1  # a young one is of a run that goes on beside this one
        os.utime(photo.with_name(name), (changed, changed))
    sidecars = Sidecars(kind, SETTINGS)
    written = sidecars.write(Tags(photo, TAGS))
    assert sorted(path.name for path in photo.parent.iterdir()) == sorted([*names[1:], photo.name, written.name])
