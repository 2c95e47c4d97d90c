import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sct_hf.errors import InputError
from sct_hf.label_text import label_words

VOC = {
    "aeroplane": "aeroplane",
    "bicycle": "bicycle",
    "bird": "bird",
    "boat": "boat",
    "bottle": "bottle",
    "bus": "bus",
    "car": "car",
    "cat": "cat",
    "chair": "chair",
    "cow": "cow",
    "diningtable": "dining table",
    "dog": "dog",
    "horse": "horse",
    "motorbike": "motorbike",
    "person": "person",
    "pottedplant": "potted plant",
    "sheep": "sheep",
    "sofa": "sofa",
    "train": "train",
    "tvmonitor": "tv monitor",
}
COCO = """
person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,
bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,
skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,
cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,
potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,
refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush
"""


@pytest.mark.parametrize(("name", "words"), VOC.items())
def test_voc_names(name: str, words: str) -> None:
    assert label_words(name) == words


def test_coco_names_are_words_already() -> None:
    names = COCO.replace("\n", "").split(",")
    assert len(names) == 80
    assert [label_words(name) for name in names] == names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("traffic_light", "traffic light"),
        ("traffic-light", "traffic light"),
        ("TrafficLight", "traffic light"),
        ("trafficLight", "traffic light"),
        ("Traffic Light", "traffic light"),
        ("  traffic\t__light ", "traffic light"),
        ("shirt/top", "shirt top"),
        ("TVMonitor", "tv monitor"),
        ("DiningTable", "dining table"),
        ("small_diningtable", "small dining table"),
        ("t-shirt", "t-shirt"),
        ("x-ray_scan", "x-ray scan"),
        ("iPhone", "iphone"),
        ("USA", "usa"),
        ("class7", "class7"),
        ("cafe\u0301", "caf\u00e9"),
        ("日傘", "日傘"),
    ],
)
def test_spellings(name: str, words: str) -> None:
    assert label_words(name) == words


@pytest.mark.parametrize("name", ["", "  ", "_-_", "!?"])
def test_a_name_without_a_word_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match="has no letter or digit"):
        label_words(name)


def test_separators_that_leave_two_blanks() -> None:
    assert label_words("00-_0") == "00 0"


@given(
    st.text(string.ascii_letters + string.digits + "_-/ ", min_size=1).filter(lambda name: any(map(str.isalnum, name)))
)
def test_words_are_tidy_and_stay_as_they_are(name: str) -> None:
    words = label_words(name)
    assert label_words(words) == words
    assert words == words.lower() == " ".join(words.split())
    letters = [character for character in name.lower() if character.isalnum()]
    assert [character for character in words if character.isalnum()] == letters
