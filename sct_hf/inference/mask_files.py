"""Masks of tags as indexed PNGs, in the form of Pascal VOC's segmentation."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sct_hf.errors import InputError
from sct_hf.files import atomic_write
from sct_hf.inference.files import common_folder, path_below
from sct_hf.inference.masks import BACKGROUND, index_masks
from sct_hf.inference.tagger import Tags
from sct_hf.model.image_processing_sct import open_image

MASK_LEVEL = 0.6
"""Least value of a map, scaled to [0, 1], where its label is: chosen on held-out scenes, see docs/benchmarks.md."""

_VOID = 255  # VOC's index of borders and of objects to ignore
LEGEND = "labels.json"
"""The file beside the masks that names the label of each index."""


def voc_colours() -> np.ndarray:
    """Pascal VOC's colour of each index, (256, 3) uint8: black for 0, cream for 255.

    The lowest three bits of an index are the highest bits of red, green and blue, the next three the second highest,
    and so on (the function `VOCcolormap` of VOC's development kit).
    """
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, count=9, bitorder="little")  # (256, 9)
    return np.packbits(bits.reshape(256, 3, 3).swapaxes(1, 2), axis=2)[..., 0]  # (256, 3)


class MaskFolder:
    """A folder of masks, one for each image: `folder/<path below the images' common folder>.png`.

    A mask is an indexed PNG (mode P) with the size of the upright image and the colours of `voc_colours`. Index 0 is
    the background, and the labels follow in order from 1. `LEGEND` in the folder says so: `{"0": "background",
    "1": …}`. It is written first, and marks the folder as one whose masks may be replaced.

    Args:
        folder: The folder; created if absent.
        paths: Files of the images.
        label_names: The C labels.
        level: In [0, 1]: least value of a map, scaled to [0, 1], where its label is.

    Raises:
        InputError: The level is outside [0, 1], there are too many labels, or the folder holds images to tag,
            masks of other labels or other files of these names.
        OSError: The folder cannot be written.
    """

    def __init__(
        self, folder: Path, paths: Sequence[Path], label_names: Sequence[str], level: float = MASK_LEVEL
    ) -> None:
        if not 0 <= level <= 1:
            raise InputError(f"mask_level is {level}: give a number from 0 to 1")
        if len(label_names) >= _VOID:
            raise InputError(
                f"masks: {len(label_names):,} labels are more than an indexed PNG has room for, {_VOID - 1}: take a "
                "checkpoint of fewer labels, or give fewer"
            )
        self.level = level
        self.number_of = {name: number for number, name in enumerate(label_names)}
        self.targets = _targets(folder, paths)
        names = {0: BACKGROUND} | dict(enumerate(label_names, start=1))
        text = json.dumps(names, ensure_ascii=False, indent=2) + "\n"
        _check_contents(folder, list(self.targets.values()), text)
        with atomic_write(folder / LEGEND) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write(self, found: Tags) -> Path:
        """Write the mask of an image, all background if it has no tags.

        Args:
            found: Result of a `Tagger` with `maps=True` for one of the paths, without error.

        Returns:
            The file written.

        Raises:
            OSError: The mask cannot be written.
        """
        numbers = [self.number_of[label] for label in found.maps]
        (mask,) = index_masks(list(found.maps.values()), numbers, open_image(found.path).size, [self.level])
        image = Image.fromarray((mask + 1).astype(np.uint8))  # NO_LABEL becomes 0
        image.putpalette(voc_colours().tobytes())
        target = self.targets[found.path]
        with atomic_write(target) as temporary:
            image.save(temporary)
        return target


def _targets(folder: Path, paths: Sequence[Path]) -> dict[Path, Path]:
    """The mask of each image."""
    root = common_folder(paths)
    image_of: dict[Path, Path] = {}
    for path in paths:
        if path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"masks is {str(folder)!r}, which holds the image {str(path)!r}: give another folder")
        target = folder / path_below(path, root).with_suffix(".png")
        if (other := image_of.setdefault(target, path)) is not path:
            raise InputError(
                f"masks: {str(other)!r} and {str(path)!r} would have one mask, {target.name!r}: rename one, or tag "
                "them apart"
            )
    return {path: target for target, path in image_of.items()}


def _check_contents(folder: Path, targets: Sequence[Path], legend: str) -> None:
    """Raise `InputError` if the folder holds masks of other labels, or files that are no masks of an earlier run."""
    file = folder / LEGEND
    if file.exists():
        if file.read_bytes() != legend.encode():
            raise InputError(f"masks is {str(folder)!r}, whose {LEGEND} has other labels: give another folder")
    elif foreign := [target for target in targets if target.exists()]:
        raise InputError(
            f"masks is {str(folder)!r}, which holds {foreign[0].name!r} but no {LEGEND} of an earlier run: give "
            "another folder"
        )
