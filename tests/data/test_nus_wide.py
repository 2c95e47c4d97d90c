from collections.abc import Callable
from pathlib import Path

import pytest

from sct_hf.data import load_data
from sct_hf.data.problems import SplitError
from sct_hf.errors import InputError

TAGS = ["nature", "sky", "blue", "cat"]  # sky and cat are concepts as well
CONCEPTS = ["cat", "sky", "zebra"]
TRAIN = {  # path, tags, concepts
    "actor\\0001_21.jpg": ([1, 1, 0, 1], [0, 0, 1]),
    "zoo\\0002_22.jpg": ([0, 0, 1, 0], [1, 1, 0]),
    "zoo\\0003_23.jpg": ([0, 1, 0, 0], [0, 0, 0]),
}


@pytest.fixture
def folder(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    """The official layout, with tabs and spaces at line ends as there."""
    for part in ("ImageList", "ConceptsList", "NUS_WID_Tags", "Groundtruth/TrainTestLabels"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "ConceptsList" / "Concepts81.txt").write_text("\n".join(CONCEPTS) + "\n")
    (tmp_path / "NUS_WID_Tags" / "TagList1k.txt").write_text("\n".join(TAGS) + "\n")
    for part, rows in (("Train", TRAIN), ("Test", dict(list(TRAIN.items())[:1]))):
        (tmp_path / "ImageList" / f"{part}Imagelist.txt").write_text("".join(f"{path} \r\n" for path in rows))
        lines = ["\t".join(map(str, tags)) + "\t\n" for tags, _ in rows.values()]
        (tmp_path / "NUS_WID_Tags" / f"{part}_Tags1k.dat").write_text("".join(lines))
        for place, concept in enumerate(CONCEPTS):
            lines = [f"{concepts[place]}\n" for _, concepts in rows.values()]
            file = tmp_path / "Groundtruth" / "TrainTestLabels" / f"Labels_{concept}_{part}.txt"
            file.write_text("".join(lines))
    for path in TRAIN:
        save_image(tmp_path / "Flickr" / path.replace("\\", "/"))
    return tmp_path


def test_tags_that_are_no_concept_and_then_concepts(folder: Path) -> None:
    images = load_data("nuswide", "train", data_dir=folder)
    assert images.label_names == ["nature", "blue", "cat", "sky", "zebra"]
    assert images.image_ids == ["actor/0001_21", "zoo/0002_22", "zoo/0003_23"]
    assert images.targets().tolist() == [[1, 0, 0, 0, 1], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    assert len(load_data("nuswide", "test", data_dir=folder)) == 1


def test_missing_images_are_left_out_on_request(folder: Path) -> None:
    (folder / "Flickr" / "zoo" / "0002_22.jpg").unlink()
    images = load_data("nuswide", "train", data_dir=folder, skip_missing_images=True)
    assert images.skipped == ("zoo/0002_22",)
    with pytest.raises(InputError, match="1 of 3 images"):
        load_data("nuswide", "train", data_dir=folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("NUS_WID_Tags/Train_Tags1k.dat", "1 0 0 0\n", "has 1 lines for 3 listed images"),
        ("NUS_WID_Tags/Train_Tags1k.dat", "1 0 0 0\n1 0\n1 0 0 0\n", r"line 2: it does not hold 4 of 0 and 1"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n-1\n0\n", r"Labels_sky_Train.txt, line 2"),
        ("ConceptsList/Concepts81.txt", None, "Concepts81.txt: data_dir has no such file"),
    ],
)
def test_broken_layouts_are_named(folder: Path, file: str, content: str | None, message: str) -> None:
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises(InputError, match=message):
        load_data("nuswide", "train", data_dir=folder)
    with pytest.raises(SplitError, match="split is 'val'"):
        load_data("nuswide", "val", data_dir=folder)
