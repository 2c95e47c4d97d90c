"""Multi-label image data sets in many formats, read into tensors.

Reading has three steps: a reader lists a split (`sct_hf.data.registry`), each image is opened once
(`sct_hf.data.looks`), and labels become one int8 matrix (`sct_hf.data.assemble`).
"""

from sct_hf.data import coco, folder, hub, label_folders, nus_wide, scenes, tables, voc  # noqa: F401 (they register readers)
from sct_hf.data.base import LabelledImages
from sct_hf.data.exports import cvat, fiftyone, label_studio, labelme, voc_xml, yolo  # noqa: F401
from sct_hf.data.load import load_data
from sct_hf.data.loading import ImageDataset
from sct_hf.data.registry import READERS, register_reader
from sct_hf.data.scenes import SCENE_LABELS
from sct_hf.data.shards import reader as _  # noqa: F401
from sct_hf.data.transforms import eval_transform, train_transform

__all__ = [
    "READERS",
    "SCENE_LABELS",
    "ImageDataset",
    "LabelledImages",
    "eval_transform",
    "load_data",
    "register_reader",
    "train_transform",
]
