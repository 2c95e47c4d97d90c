from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sct_hf.data import load_data
from sct_hf.data.problems import DataError, SplitError
from sct_hf.data.recognise import recognise

# Image → (label, difficult) of its objects.
OBJECTS = {"a": [("forklift", 0), ("hard hat", 1)], "b": [("hard hat", 1), ("hard hat", 0)], "c": [("forklift", 0)]}
SHOWN = {"a": ["forklift"], "b": ["hard hat"], "c": ["forklift"]}


def annotation(name: str, filename: str) -> str:
    things = "".join(f"<object><name>{n}</name><difficult>{d}</difficult></object>" for n, d in OBJECTS[name])
    return f"<annotation>\n<folder>x</folder><filename>{filename}</filename>{things}</annotation>"


@pytest.fixture
def lay_out(tmp_path: Path, save_image: Callable[..., Path]) -> Callable[..., Path]:
    """Write the three images and their annotations to two folders."""

    def write(images: str, annotations: str, filename: str = "{}.jpg") -> Path:
        for seed, name in enumerate(OBJECTS):
            save_image(tmp_path / images / f"{name}.jpg", seed=seed)
            file = tmp_path / annotations / f"{name}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(annotation(name, filename.format(name)))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("images", "annotations", "filename"),
    [
        ("", "", "{}.jpg"),  # labelImg
        ("train", "train", "{}.jpg"),  # Roboflow
        ("JPEGImages", "Annotations", "{}.jpg"),
        ("images", "annotations", "{}.png"),  # the images were converted since
        ("VOC2012/JPEGImages", "VOC2012/Annotations", "../old/{}.jpg"),
    ],
)
def test_own_labels_of_every_layout(
    lay_out: Callable[..., Path], images: str, annotations: str, filename: str
) -> None:
    place = recognise(lay_out(images, annotations, filename))
    assert place.dataset == "voc"
    read = load_data("voc", "train", data_dir=place.options["data_dir"], difficult="ignore")
    assert read.label_names == ["forklift", "hard hat"]
    assert (read.image_ids, read.targets().tolist()) == (["a", "b", "c"], [[1, -1], [0, 1], [1, 0]])


def test_lists_of_images_are_splits(lay_out: Callable[..., Path]) -> None:
    root = lay_out("JPEGImages", "Annotations")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "default.txt").write_text("c\n\na\n")
    place = recognise(root)
    assert place.options == {"data_dir": str(root), "train_split": "default"}  # the only one, as CVAT names it
    assert load_data("voc", "default", data_dir=root).image_ids == ["c", "a"]
    with pytest.raises(SplitError, match=r"split is 'train', .* splits found: default"):
        load_data("voc", "train", data_dir=root)
    for name, text in {"train": "a\nb\n", "val": "c\n", "forklift_train": "a 1\nb -1\n"}.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    place = recognise(root)
    assert place.options["train_split"] == "train"
    assert place.evaluation == {"eval_split": "val"}


def test_a_class_list_of_voc_is_one_error(lay_out: Callable[..., Path]) -> None:
    root = lay_out("VOC2007/JPEGImages", "VOC2007/Annotations")
    (root / "VOC2007" / "ImageSets" / "Main").mkdir(parents=True)
    (root / "VOC2007" / "ImageSets" / "Main" / "train.txt").write_text("a\nb\nc\n")
    assert recognise(root).dataset == "voc"
    with pytest.raises(
        DataError, match=r"object 'forklift' in a.xml is none of .* 1 more labels?: give --dataset"
    ) as e:
        load_data("voc2007", "train", data_dir=root)
    assert len(e.value.problems) == 1


def test_faults_are_named(lay_out: Callable[..., Path], save_image: Callable[..., Path]) -> None:
    root = lay_out("", "")
    save_image(root / "d.jpg", seed=9)
    (root / "a.xml").write_text("<annotation><object>")
    (root / "b.xml").write_text("<annotation><object><name> </name></object></annotation>")
    with pytest.raises(DataError) as caught:
        load_data("voc", "train", data_dir=root)
    assert [(problem.kind, Path(problem.place).name) for problem in caught.value.problems] == [
        ("not XML", "a.xml"),
        ("wrong label", "b.xml"),
    ]


def test_the_same_labels_as_the_archives(voc_dir: Path) -> None:
    ids = (voc_dir / "VOC2007/ImageSets/Main/val.txt").read_text().split()[:200]
    own = load_data("voc", "val", data_dir=voc_dir, difficult="ignore", skip_missing_images=True)
    official = load_data("voc2007", "val", data_dir=voc_dir, difficult="ignore", skip_missing_images=True)
    assert own.image_ids[:100] == official.image_ids[:100] == [name for name in ids if name not in own.skipped][:100]
    assert np.array_equal(own.targets(), official.targets())
