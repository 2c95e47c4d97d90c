"""Multi-label image data sets, read through `datasets`, and their way to tensors."""

from sct_hf.data.base import LabelledImages
from sct_hf.data.loading import ImageDataset
from sct_hf.data.registry import READERS, load_data
from sct_hf.data.scenes import SCENE_LABELS
from sct_hf.data.transforms import eval_transform, train_transform

__all__ = [
    "READERS",
    "SCENE_LABELS",
    "ImageDataset",
    "LabelledImages",
    "eval_transform",
    "load_data",
    "train_transform",
]
