"""Images for calibrating and comparing an export."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sct_hf.data.transforms import eval_transform
from sct_hf.errors import InputError
from sct_hf.inference.files import find_images
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.network import failure_reason
from sct_hf.progress import step_bar


class CalibrationImages:
    """Image files as input of a model; each iteration reads them again.

    Args:
        inputs: Files, folders or globs.
        config: The model's configuration, which defines the preprocessing.
        count: Most images to draw.
        seed: Seed of the draw.

    Raises:
        InputError: There is no image.
    """

    def __init__(self, inputs: Sequence[str], config: BackboneConfig, *, count: int, seed: int) -> None:
        found = find_images(inputs)
        drawn = np.sort(np.random.default_rng(seed).permutation(len(found))[:count])
        self.paths = [found[index] for index in drawn]
        self._transform = eval_transform(list(config.input_size), config.image_mean, config.image_std)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield images (1, 3, H, W) float32.

        Raises:
            InputError: An image cannot be read; the message names it.
        """
        images = map(self._read, self.paths)
        return iter(step_bar(images, total=len(self), desc="calibration images", unit="image"))

    def _read(self, path: Path) -> np.ndarray:
        try:
            with Image.open(path) as image:
                return self._transform(image).unsqueeze(0).numpy()
        except Exception as error:  # broken files make Pillow's decoders raise almost anything
            raise InputError(
                f"calibration_images: {path} cannot be read ({failure_reason(error)}); leave it out"
            ) from error
