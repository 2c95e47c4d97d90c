"""Sidecars: what exiftool reads of them, what stays of other programs' files, and which images are done."""

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sct_hf import InputError
from sct_hf.inference.sidecars import Sidecars
from sct_hf.inference.tagger import Tags
from sct_hf.inference.xmp import merged

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


def exif(path: Path) -> dict[str, object]:
    done = subprocess.run(["exiftool", "-json", "-struct", "-all", path], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)[0]


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
    "": "it is no XML",
}


@pytest.mark.parametrize("text", DAMAGED)
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
    for text in ('{"title": "a b.JPG", "photoTakenTime": {}}', "[1]", "no json", "\xff"):
        file.write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match=r"it is another program's file; give --sidecars xmp, or --output"):
            sidecars.write(Tags(photo, TAGS))
        assert file.read_text(encoding="latin-1") == text
    file.unlink()
    sidecars.write(Tags(photo, TAGS))
    sidecars.write(Tags(photo, TAGS[:1]))
    assert json.loads(file.read_text())["tags"] == [{"label": "dog", "score": 0.75}]


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
