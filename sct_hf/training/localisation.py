"""Where the maps of a model's labels point, beside simpler answers: on images whose objects have boxes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from PIL import ExifTags, Image
from torch.utils.data import DataLoader

from sct_hf.data import ImageDataset, LabelledImages, eval_transform
from sct_hf.data.boxes import BoxedImage
from sct_hf.errors import InputError
from sct_hf.metrics.localisation import FIGURES, TOLERANCE, PairFigures, localisation_metrics, pair_figures, size_of
from sct_hf.metrics.segmentation import count_pixels, segmentation_metrics
from sct_hf.model.backbone_sct import capability
from sct_hf.name_lists import some
from sct_hf.progress import progress_bar
from sct_hf.training.arguments import EvaluationDataArguments
from sct_hf.training.evaluation import model_inputs
from sct_hf.training.loaders import make_loader
from sct_hf.training.models import TaggingModel, load_model
from sct_hf.training.report import aligned, percent

MODEL, CAM, CENTRE, WHOLE = "model", "cam", "centre", "whole_image"
METHODS = {MODEL: "the model", CAM: "CAM of a linear head", CENTRE: "centre of the image", WHOLE: "whole image"}
"""The methods by their names in metrics.json, in words."""

_SIDEWAYS = (5, 6, 7, 8)  # orientations of EXIF that swap width and height
_SHAPE = 0.02  # difference of the logarithms of two aspect ratios, of rounded sides


@dataclass(frozen=True)
class _Image:
    """An image whose maps are measured: its row, what is known of it, and boxes (n, 4) by label that it shows."""

    row: int
    known: BoxedImage
    boxes: dict[str, np.ndarray]


def check_maps(model: TaggingModel, field: str, name: str) -> None:
    """Raise `InputError` for a model without a map of each label."""
    if not capability(model, "gives_maps") and not getattr(model, "scores_regions", False):
        head = getattr(model.config, "head", model.config.model_type)
        raise InputError(
            f"{field} is {name!r}, whose head {head!r} has no map of a label: give a checkpoint of SCT or of a linear "
            "head"
        )


def load_cam(name: str, model: TaggingModel) -> TaggingModel:
    """Load the checkpoint for the class activation maps.

    Raises:
        InputError: It does not exist, has no maps, or lacks a label of the model.
    """
    cam = load_model(name, field="cam_checkpoint")
    check_maps(cam, "cam_checkpoint", name)
    if lacking := sorted(set(model.config.label_names) - set(cam.config.label_names)):
        raise InputError(
            f"cam_checkpoint is {name!r}, which lacks labels of the model ({some(lacking)}): give one trained with "
            "the same labels"
        )
    return cam


def score_localisation(
    model: TaggingModel,
    cam: TaggingModel | None,
    images: LabelledImages,
    boxes: Mapping[str, BoxedImage],
    data: EvaluationDataArguments,
    batch_size: int,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Measure the maps of the labels that each image shows.

    A pair of an image and a label counts if the label is present and has a box that is neither difficult (VOC) nor of
    a crowd (COCO); its other boxes then count too. Pairs of an image whose file has another shape than its annotation
    says are left out.

    Args:
        model: The model, on the accelerator's device.
        cam: A model for the row "cam", or None for no such row.
        images: The N images, with the model's labels.
        boxes: Their boxes, by image id.
        data: Options of the data.
        batch_size: Images per batch, over all processes.
        accelerator: The accelerator of this process.

    Returns:
        `{"images", "pairs", "without_box" (pairs left out), "other_shape" (ids of images left out), "tolerance"
        (pixels), "methods"}`; `methods` has the result of `localisation_metrics` for "model", "cam", "centre" and
        "whole_image". Where masks are known, each also has that of `segmentation_metrics` as "segmentation".

    Raises:
        InputError: No pair counts, or a map has NaN or infinity.
    """
    shown, without_box, other_shape = _find_images(images, boxes)
    if not shown:
        raise InputError(
            f"localisation: no image of split {images.split!r} shows a label of the model with a box: choose a split "
            "with boxes"
        )
    methods = {}
    for name, each in {MODEL: model, CAM: cam}.items():
        if each is not None:
            loader = _loader(
                each.to(accelerator.device), images.select([one.row for one in shown]), data, batch_size, accelerator
            )
            maps = _maps_of(each, loader, shown, accelerator, METHODS[name])
            methods[name] = _measured(maps, shown, images.label_names)
    mine = range(accelerator.process_index, len(shown), accelerator.num_processes)
    for name, draw in {CENTRE: _centre, WHOLE: _whole}.items():
        drawn = ((number, [draw(shown[number].known.size)] * len(shown[number].boxes)) for number in mine)
        methods[name] = _measured(drawn, shown, images.label_names)
    return {
        "images": len(shown),
        "pairs": sum(len(one.boxes) for one in shown),
        "without_box": without_box,
        "other_shape": other_shape,
        "tolerance": TOLERANCE,
        "methods": methods,
    }


def format_localisation(figures: Mapping[str, Any]) -> str:
    """Format the result of `score_localisation` as text, in percent: methods, sizes of objects, labels."""
    methods, counted = figures["methods"], f"{figures['pairs']} labels in {figures['images']} images"
    first = f"where the maps point ({counted}; a peak may be {figures['tolerance']} pixels off)"
    rows = [
        {"": METHODS[name], **_percents(each["overall"])}
        | ({"mIoU": percent(each["segmentation"]["mIoU"])} if "segmentation" in each else {})
        for name, each in methods.items()
    ]
    blocks = [first, aligned(pd.DataFrame(rows))]
    of_sizes = [
        {"pointing by size": size, "labels": row["pairs"]}
        | {METHODS[name]: percent(each["by_size"][size]["pointing"]) for name, each in methods.items()}
        for size, row in methods[MODEL]["by_size"].items()
    ]
    blocks.append(aligned(pd.DataFrame(of_sizes)))
    of_labels = [
        {"label": label, "images": row["pairs"], **_percents(row)} for label, row in methods[MODEL]["by_label"].items()
    ]
    of_labels.append({"label": "mean", "images": "", **_percents(methods[MODEL]["mean_of_labels"])})
    blocks.append(aligned(pd.DataFrame(of_labels)))
    if figures["without_box"]:
        blocks.append(
            f"left out: {figures['without_box']} labels without a box, or with difficult objects or crowds only"
        )
    if figures["other_shape"]:
        names = some(figures["other_shape"])
        blocks.append(f"left out: images whose file has another shape than the annotation says: {names}")
    return "\n\n".join(blocks)


def _percents(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: percent(row[name]) for name in FIGURES}


def _find_images(images: LabelledImages, boxes: Mapping[str, BoxedImage]) -> tuple[list[_Image], int, list[str]]:
    """The images with a pair that counts, the number of pairs without a box, and ids of images of another shape."""
    found: list[_Image] = []
    without_box, other_shape = 0, []
    for row, marks in enumerate(images.marks):
        image_id, known = images.image_ids[row], boxes.get(images.image_ids[row])
        present = [images.label_names[label] for label in np.flatnonzero(marks == 1)]
        of_labels = {} if known is None else {label: known.of(label) for label in present}
        having = {label: own for label, own in of_labels.items() if own is not None}
        without_box += len(present) - len(having)
        if known is None or not having:
            continue
        if _same_shape(_file_size(images.encoded(row)), known.size):
            found.append(_Image(row, known, having))
        else:
            other_shape.append(image_id)
    return found, without_box, other_shape


def _file_size(encoded: dict[str, Any]) -> tuple[int, int]:
    """(width, height) of an image as training turns it, without decoding it."""
    data = encoded["bytes"]
    with Image.open(encoded["path"] if data is None else BytesIO(data)) as image:
        width, height = image.size
        try:
            sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
        except Exception:  # broken EXIF makes Pillow raise almost anything, and is ignored in training
            sideways = False
    return (height, width) if sideways else (width, height)


def _same_shape(some: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes differ by a scale and the rounding of both sides."""
    ratios = np.log([some[0] / other[0], some[1] / other[1]])
    return bool(abs(ratios[0] - ratios[1]) <= _SHAPE + 1 / min(*some, *other))


def _loader(
    model: TaggingModel,
    images: LabelledImages,
    data: EvaluationDataArguments,
    batch_size: int,
    accelerator: Accelerator,
) -> DataLoader[Any]:
    config = model.config
    transform = eval_transform(config.image_size, config.image_mean, config.image_std)
    return make_loader(ImageDataset(images, transform), data, batch_size, accelerator)


def _maps_of(
    model: TaggingModel, loader: DataLoader[Any], shown: list[_Image], accelerator: Accelerator, description: str
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The number of each image of this process, and the maps (H', W') of the labels that it shows."""
    column_of = {name: column for column, name in enumerate(model.config.label_names)}
    model.eval()
    for batch in progress_bar(loader, shown=accelerator.is_main_process, desc=description, unit="batch", leave=False):
        inputs = model_inputs(batch, channels_last=True)
        inputs.pop("labels")
        with torch.inference_mode(), accelerator.autocast():
            maps = model(**inputs, output_maps=True).heatmap.cpu().numpy()  # (B, C, H', W')
        for number, each in zip(batch["index"].tolist(), maps, strict=True):
            yield number, [each[column_of[label]] for label in shown[number].boxes]


def _measured(
    maps: Iterable[tuple[int, list[np.ndarray]]], shown: list[_Image], label_names: list[str]
) -> dict[str, Any]:
    """The figures of a method, from the maps that each process has of its images."""
    mine: list[tuple[int, list[PairFigures], np.ndarray | None]] = []
    for number, of_image in maps:
        one = shown[number]
        try:
            figures = [
                pair_figures(weights, own, one.known.size)
                for weights, own in zip(of_image, one.boxes.values(), strict=True)
            ]
            mine.append((number, figures, _pixels(of_image, one, label_names)))
        except ValueError as error:
            raise InputError(f"localisation: a map of {', '.join(one.boxes)}: {error}") from error
    found = {number: rest for number, *rest in gather_object(mine)}  # images that fill a batch count once
    pairs = [pair for number in range(len(shown)) for pair in found[number][0]]
    labels, boxes = zip(*(item for one in shown for item in one.boxes.items()), strict=True)
    measured = localisation_metrics(pairs, labels, [size_of(own) for own in boxes], label_names)
    counts = [pixels for _, pixels in found.values() if pixels is not None]
    return measured | ({"segmentation": segmentation_metrics(sum(counts), label_names)} if counts else {})


def _pixels(maps: list[np.ndarray], one: _Image, label_names: list[str]) -> np.ndarray | None:
    """The result of `count_pixels` for an image whose masks are known, else None."""
    if not one.known.masks:
        return None
    truth = np.full(one.known.size[::-1], -1)
    for label, mask in one.known.masks.items():
        if label in label_names:
            truth[mask] = label_names.index(label)
    return count_pixels(maps, [label_names.index(label) for label in one.boxes], truth, len(label_names))


def _centre(size: tuple[int, int]) -> np.ndarray:
    """A Gaussian around the centre, at half its height where the middle half of each side ends.

    Choe et al. (CVPR 2020) compare with a Gaussian too; its width is this project's.
    """
    down, across = (4 * (np.arange(side) + 0.5) / side - 2 for side in (size[1], size[0]))
    return np.exp2(-(down[:, None] ** 2) - across[None] ** 2)


def _whole(size: tuple[int, int]) -> np.ndarray:
    return np.ones((1, 1))
