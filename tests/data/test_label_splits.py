from pathlib import Path

import pytest

from sct_hf.data import load_data
from sct_hf.data.label_splits import SPLITS, split_labels
from sct_hf.data.nus_wide import NUS_CONCEPTS
from sct_hf.data.voc import VOC_LABELS
from sct_hf.errors import InputError

NAMES = ["ant", "bee", "cow", "dog"]


def test_names_stay_in_the_order_of_the_data_set(tmp_path: Path) -> None:
    split = split_labels("dog, bee", NAMES)
    assert (split.seen, split.unseen) == (["ant", "cow"], ["bee", "dog"])
    (tmp_path / "unseen.txt").write_text("bee\n\ndog\n", encoding="utf-8")
    assert split_labels(str(tmp_path / "unseen.txt"), NAMES) == split


def test_labels_that_only_other_images_have_may_be_unseen_but_not_seen() -> None:
    split = split_labels("elk,ant", NAMES, ["elk", "fox"])
    assert (split.seen, split.unseen) == (["bee", "cow", "dog"], ["ant", "elk"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bee,cat", r"'cat' is no label of the data set; did you mean ant\?"),
        ("xyz", r"'xyz' is no label of the data set; The labels are ant, bee, cow, dog\. .*voc5, coco17, nus81"),
        ("bee,bee", "it has 'bee' twice"),
        (",", "it has no label"),
        ("ant,bee,cow", "leaves 1 labels to train on"),
        ("coco17", "'airplane' is no label"),
    ],
)
def test_what_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"unseen_labels is '{text}'.*{message}"):
        split_labels(text, NAMES)


def test_presets_have_the_sizes_of_their_protocols(coco_dir: Path) -> None:
    voc = split_labels("voc5", VOC_LABELS)
    assert (len(voc.seen), voc.unseen) == (15, ["car", "dog", "sheep", "sofa", "train"])
    names = load_data("coco", "val2017", data_dir=coco_dir).label_names
    coco = split_labels("coco17", names)
    assert (len(coco.seen), len(coco.unseen), len({*coco.seen, *coco.unseen})) == (48, 17, 65)
    assert set(names) - {*coco.seen, *coco.unseen} == {
        *("traffic light", "fire hydrant", "stop sign", "parking meter", "baseball bat", "baseball glove"),
        *("sports ball", "tennis racket", "wine glass", "hot dog", "potted plant", "dining table", "cell phone"),
        *("teddy bear", "hair drier"),
    }
    assert len(set(NUS_CONCEPTS)) == len(SPLITS["nus81"][0]) == 81
