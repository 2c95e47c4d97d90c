"""Masks as files: VOC's colours, indices, sizes, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from sct_hf import InputError
from sct_hf.inference.mask_files import MaskFolder, voc_colours
from sct_hf.inference.tagger import Tagger, Tags
from sct_hf.own_checkpoint import own_checkpoint


def test_colours_are_those_of_vocs_development_kit() -> None:
    """VOCcolormap.m, bit by bit."""
    for index, colour in enumerate(voc_colours().tolist()):
        red = green = blue = 0
        rest = index
        for place in range(8):
            red |= (rest >> 0 & 1) << (7 - place)
            green |= (rest >> 1 & 1) << (7 - place)
            blue |= (rest >> 2 & 1) << (7 - place)
            rest >>= 3
        assert colour == [red, green, blue]
    assert voc_colours()[[0, 1, 15, 20, 255]].tolist() == [
        *([0, 0, 0], [128, 0, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192])
    ]


def picture(path: Path, size=(2, 2), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path, **options)
    return path


def test_a_mask_by_hand(tmp_path) -> None:
    path = picture(tmp_path / "photos" / "a.jpg")
    maps = {"cat": np.array([[1.0, 0.6], [0.2, 0]]), "cow": np.array([[0, 0.7], [0.3, 1.0]])}
    folder = MaskFolder(tmp_path / "masks", [path], ["cow", "dog", "cat"], 0.5)
    written = folder.write(Tags(path, [("cat", 0.9), ("cow", 0.8)], maps=maps))
    assert written == tmp_path / "masks" / "a.png"
    with Image.open(written) as mask:
        assert mask.mode == "P"
        assert np.asarray(mask).tolist() == [[3, 1], [0, 1]]
        colours = np.asarray(mask.convert("RGB")).tolist()
    assert colours == [[[128, 128, 0], [128, 0, 0]], [[0, 0, 0], [128, 0, 0]]]


def test_the_last_of_254_labels_has_index_254(tmp_path) -> None:
    path = picture(tmp_path / "photos" / "a.jpg")
    names = [f"label {number}" for number in range(255)]
    written = MaskFolder(tmp_path / "masks", [path], names[:254]).write(
        Tags(path, maps={"label 253": np.ones((1, 1))})
    )
    with Image.open(written) as mask:
        assert np.asarray(mask).tolist() == [[254, 254], [254, 254]]
    assert json.loads((tmp_path / "masks" / "labels.json").read_text())["254"] == "label 253"
    with pytest.raises(InputError, match=r"masks: 255 labels are more than an indexed PNG has room for, 254: take"):
        MaskFolder(tmp_path / "others", [path], names)
    assert not (tmp_path / "others").exists()


def test_an_image_lying_on_its_side_gets_an_upright_mask(tmp_path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = picture(tmp_path / "photos" / "a.jpg", (6, 4), exif=exif)
    written = MaskFolder(tmp_path / "masks", [path], ["cat"]).write(Tags(path))
    with Image.open(written) as mask:
        assert mask.size == (4, 6)


@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan")])
def test_levels_that_no_map_has(tmp_path, level) -> None:
    with pytest.raises(InputError, match=f"mask_level is {level}: give a number from 0 to 1"):
        MaskFolder(tmp_path / "masks", [picture(tmp_path / "a.jpg")], ["cat"], level)


def test_nothing_of_the_user_is_replaced(tmp_path) -> None:
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    path = picture(photos / "a.jpg")
    for folder in (photos, tmp_path):
        with pytest.raises(InputError, match=r"which holds the image .*: give another folder"):
            MaskFolder(folder, [path], ["cat"])
    with pytest.raises(InputError, match=r"would have one mask, 'a.png'"):
        MaskFolder(masks, [path, picture(photos / "a.webp")], ["cat"])
    picture(masks / "a.png")
    with pytest.raises(InputError, match=r"which holds 'a.png' but no labels.json of an earlier run"):
        MaskFolder(masks, [path], ["cat"])
    MaskFolder(masks, [picture(photos / "b.jpg")], ["cat"])
    with pytest.raises(InputError, match=r"whose labels.json has other labels"):
        MaskFolder(masks, [path], ["dog"])
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        MaskFolder(path, [picture(tmp_path / "c.jpg")], ["cat"])


def test_a_real_image(tmp_path, voc_dir) -> None:
    """Horse and rider: tags and background, in the size of the photo."""
    path = voc_dir / "VOC2007" / "JPEGImages" / "000017.jpg"
    tagger = Tagger.from_pretrained(own_checkpoint(), "cpu")
    (found,) = tagger.tag([path], maps=True)
    with Image.open(MaskFolder(tmp_path, [path], tagger.label_names).write(found)) as mask, Image.open(path) as image:
        assert mask.size == image.size
        seen = np.unique(np.asarray(mask)).tolist()
    names = ["background", *tagger.label_names]
    shown = {names[index] for index in seen}
    assert "background" in shown
    assert shown & {"horse", "person"}
    assert shown <= {"background", *found.maps}
