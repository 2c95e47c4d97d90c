from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sct_hf.data import load_data
from sct_hf.data.voc import VOC_LABELS

# As in https://docs.cvat.ai/docs/other/xml_format
META = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <{kind}>
      <id>4</id>
      <name>pets &amp; more</name>
      <labels>
        <label><name>sofa</name><color>#c06060</color><type>any</type><attributes>
          <attribute><name>label</name><mutable>False</mutable><values>old</values></attribute></attributes></label>
        <label><name>dog</name><type>bbox</type><attributes></attributes></label>
        <label><name>man</name><type>skeleton</type><attributes></attributes></label>
        <label><name>1</name><type>points</type><attributes></attributes><parent>man</parent></label>
        <label><name>good frame</name><type>tag</type><attributes></attributes></label>
      </labels>
    </{kind}>
    <dumped>2024-03-01 10:00:00.000000+00:00</dumped>
  </meta>
"""
IMAGES = """  <image id="0" name="a.png" width="40" height="30" {first}>
    <tag label="good frame" source="manual">
    </tag>
    <box label="dog" source="manual" occluded="0" xtl="1.0" ytl="2.0" xbr="9.5" ybr="9.0" z_order="0">
      <attribute name="label">old</attribute>
    </box>
    <box label="dog" source="manual" occluded="1" xtl="3.0" ytl="2.0" xbr="9.5" ybr="9.0" z_order="0"></box>
  </image>
  <image id="1" name="sub/b.png" width="40" height="30" {second}>
    <polygon label="sofa" source="manual" occluded="0" points="1.0,2.0;3.0,4.0;5.0,2.0" z_order="0"></polygon>
    <skeleton label="man" source="manual" z_order="0">
      <points label="1" source="manual" outside="0" occluded="0" points="10.0,12.0"></points>
    </skeleton>
  </image>
  <image id="2" name="c.png" width="40" height="30" {third}>
  </image>
</annotations>
"""
WANTED = {"a.png": ({"good frame", "dog"}, set()), "sub/b.png": ({"sofa", "man"}, set()), "c.png": (set(), set())}


def test_a_task(tmp_path: Path, save_image: Callable[..., Path], names_by_id: Callable[..., Any]) -> None:
    for seed, name in enumerate(WANTED):
        save_image(tmp_path / "images" / name, seed=seed)
    text = META.format(kind="task") + IMAGES.format(first="", second="", third="")
    (tmp_path / "annotations.xml").write_text(text, encoding="utf-8")
    images = load_data("cvat", "train", data_dir=tmp_path)
    assert images.label_names == ["sofa", "dog", "man", "good frame"], "as declared, without the skeleton's points"
    assert names_by_id(images) == WANTED
    again = load_data("cvat", "anything", files=tmp_path / "annotations.xml")
    assert again.targets().tolist() == images.targets().tolist()


def test_subsets_of_a_project(tmp_path: Path, save_image: Callable[..., Path], problems_of: Any) -> None:
    save_image(tmp_path / "images" / "Train" / "a.png")
    save_image(tmp_path / "images" / "Val" / "sub" / "b.png", seed=1)
    save_image(tmp_path / "images" / "c.png", seed=2)
    subsets = {"first": 'subset="Train" task_id="4"', "second": 'subset="Val" task_id="5"', "third": 'task_id="5"'}
    (tmp_path / "annotations.xml").write_text(META.format(kind="project") + IMAGES.format(**subsets))
    assert load_data("cvat", "train", data_dir=tmp_path).image_ids == ["a.png"]
    assert load_data("cvat", "val", data_dir=tmp_path).image_ids == ["sub/b.png"]
    (problem,) = problems_of("cvat", "test", data_dir=tmp_path)
    assert problem.text == "no image is of subset 'test', only '', 'Train', 'Val'"
    assert len(load_data("cvat", "train", files=tmp_path / "annotations.xml")) == 3, "a file that is named is whole"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (META.format(kind="task") + '<track id="0" label="dog"></track></annotations>', ", line 19", "one for video"),
        ("<annotation></annotation>", ", line 1", "the file is <annotation>"),
        (META.format(kind="task") + "<image", ", line 19", "not valid XML"),
        ("", "", "there is no image|the file is empty"),
        (
            META.format(kind="task") + '<image name="a.png">\n<tag label="dogs"/></image></annotations>',
            ", line 20",
            "label 'dogs' is not declared among sofa, dog, man, good frame",
        ),
        (META.format(kind="task") + '<image id="3">\n</image></annotations>', ", line 19", "the image has no name"),
        (META.format(kind="task") + '<image name="a.png"><tag/></image></annotations>', ", line 19", "<tag> has no l"),
    ],
)
def test_what_is_wrong(tmp_path: Path, problems_of: Any, text: str, place: str, words: str) -> None:
    (tmp_path / "annotations.xml").write_text(text)
    problems = problems_of("cvat", "train", data_dir=tmp_path)
    assert problems[0].place == f"{tmp_path / 'annotations.xml'}{place}"
    assert any(part in problems[0].text for part in words.split("|"))


def test_boxes_of_voc_in_this_format_are_read_as_voc_is(voc_dir: Path, tmp_path: Path) -> None:
    ids = (voc_dir / "VOC2007/ImageSets/Main/val.txt").read_text().split()[:40]
    root = ElementTree.Element("annotations")
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    for name in VOC_LABELS:
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    for image_id in ids:
        image = ElementTree.SubElement(root, "image", {"name": f"{image_id}.jpg"})
        for item in ElementTree.parse(voc_dir / f"VOC2007/Annotations/{image_id}.xml").iter("object"):
            if item.findtext("difficult") != "1":
                ElementTree.SubElement(image, "box", {"label": item.findtext("name", ""), "occluded": "0"})
    ElementTree.ElementTree(root).write(tmp_path / "val.xml", encoding="utf-8", xml_declaration=True)
    options = {"files": tmp_path / "val.xml", "data_dir": voc_dir / "VOC2007/JPEGImages"}
    ours = load_data("cvat", "val", skip_missing_images=True, **options)
    voc = load_data("voc2007", "val", data_dir=voc_dir, skip_missing_images=True).select(range(len(ours)))
    assert ours.label_names == voc.label_names
    assert ours.targets().tolist() == voc.targets().tolist()


def test_frames_of_a_video_and_paths_of_windows(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    save_image(tmp_path / "images" / "frame_000000.png")
    save_image(tmp_path / "images" / "sub" / "b.png", seed=1)
    text = META.format(kind="task") + IMAGES.format(first="", second="", third="").replace("sub/b", "sub\\b")
    text = text.replace("a.png", "frame_000000").replace('name="c.png"', 'name="gone"')
    (tmp_path / "annotations.xml").write_text(text, encoding="utf-8")
    images = load_data("cvat", "train", data_dir=tmp_path, skip_missing_images=True)
    assert images.image_ids == ["frame_000000", "sub\\b.png"]
    assert images.skipped == ("gone",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 and more", "the file is a zip archive: unpack it, and name the file in it"),
        (b"\x1f\x8b\x08 and more", "the file is a gzip archive: unpack it"),
        (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "it declares a document type"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, problems_of: Any, content: bytes, words: str) -> None:
    (tmp_path / "annotations.xml").write_bytes(content)
    (problem,) = problems_of("cvat", "train", data_dir=tmp_path)
    assert words in str(problem)


def test_many_entities_and_labels_take_no_long_time(tmp_path: Path, problems_of: Any) -> None:
    """A test that hangs where time grows with the square of the number."""
    tags = "".join(f'<tag label="other {number}"/>\n' for number in range(30_000))
    text = META.format(kind="task").replace("pets &amp; more", "&amp;" * 500_000)
    (tmp_path / "annotations.xml").write_text(f'{text}<image name="a.png">{tags}</image></annotations>')
    assert len(problems_of("cvat", "train", data_dir=tmp_path)) == 30_000
