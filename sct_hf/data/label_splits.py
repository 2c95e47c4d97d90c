"""Seen labels, which a model is trained on, and unseen labels, which are only scored."""

import difflib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sct_hf.data.listing import read_names
from sct_hf.data.names import tidy
from sct_hf.data.nus_wide import NUS_CONCEPTS
from sct_hf.errors import InputError
from sct_hf.name_lists import some


@dataclass(frozen=True)
class LabelSplit:
    """Seen and unseen labels of a data set, each in the order of the data set; some may be neither.

    Attributes:
        seen: Labels to train on, two or more.
        unseen: Labels left out of training, one or more.
    """

    seen: list[str]
    unseen: list[str]


# The 16/4 split of zero-shot detection on VOC (Demirel et al., BMVC 2018) has car, dog, sofa and train unseen; sheep
# is this project's. Chosen before anything was measured.
_VOC5 = ("car", "dog", "sheep", "sofa", "train")
# Bansal et al., "Zero-Shot Object Detection", ECCV 2018: 48 seen and 17 unseen of COCO's 80, the other 15 are neither.
_COCO17 = (
    "airplane bus cat dog cow elephant umbrella tie snowboard skateboard cup knife cake couch keyboard sink scissors"
)
_COCO48 = (
    "person,bicycle,car,motorcycle,train,truck,boat,bench,bird,horse,sheep,bear,zebra,giraffe,backpack,handbag,"
    "suitcase,frisbee,skis,kite,surfboard,bottle,fork,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,pizza,"
    "donut,chair,bed,toilet,tv,laptop,mouse,remote,microwave,oven,toaster,refrigerator,book,clock,vase,toothbrush"
)

SPLITS: dict[str, tuple[tuple[str, ...], tuple[str, ...] | None]] = {
    "voc5": (_VOC5, None),
    "coco17": (tuple(_COCO17.split()), tuple(_COCO48.split(","))),
    "nus81": (tuple(NUS_CONCEPTS), None),
}
"""Unseen and seen labels by name of a split; None for the seen ones if all others are seen."""


def split_labels(unseen: str, label_names: Sequence[str], further: Sequence[str] = ()) -> LabelSplit:
    """Split the labels of a data set into seen and unseen ones.

    Args:
        unseen: A name of `SPLITS`, a text file with one label per line, or labels separated by commas.
        label_names: Labels of the training images.
        further: Labels that only other images have; they may be unseen.

    Raises:
        InputError: A name repeats or is no label (the message has the nearest ones), there is none, or fewer than two
            labels remain seen.
    """
    if unseen in SPLITS:
        names, seen = SPLITS[unseen]
    else:
        names, seen = tuple(_names(unseen)), None
    known = dict.fromkeys([*label_names, *further])
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice or not names:
        raise InputError(
            f"unseen_labels is {unseen!r}: {f'it has {twice[0]!r} twice' if twice else 'it has no label'}"
        )
    for name in (*names, *(seen or ())):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"The labels are {some(known)}."
            raise InputError(
                f"unseen_labels is {unseen!r}, but {name!r} is no label of the data set; {hint} Give labels with "
                f"commas between them, a text file with one a line, or one of {', '.join(SPLITS)}"
            )
    wanted = set(label_names) - set(names) if seen is None else set(seen)
    unseen_names = set(names)
    split = LabelSplit(
        [name for name in label_names if name in wanted], [name for name in known if name in unseen_names]
    )
    if len(split.seen) < 2:
        raise InputError(f"unseen_labels is {unseen!r}, which leaves {len(split.seen)} labels to train on: keep two")
    return split


def _names(text: str) -> list[str]:
    if os.path.isfile(text):  # which a long row of labels, no path at all, does not upset
        return read_names(text)
    return [tidy(name) for name in text.split(",") if tidy(name)]
