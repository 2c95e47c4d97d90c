"""Heatmaps pixel by pixel, and boxes against cases worked by hand."""

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from sct_hf.model import image_processing_sct
from sct_hf.model.image_processing_sct import heatmap_box, heatmap_overlay


def enlarge(weights: np.ndarray, height: int, width: int) -> np.ndarray:
    """Weights stretched to [0, 1] and enlarged bilinearly, by torch."""
    stretched = torch.tensor((weights - weights.min()) / (weights.max() - weights.min()))
    return torch.nn.functional.interpolate(stretched[None, None], (height, width), mode="bilinear")[0, 0].numpy()


def test_overlay_mixes_enlarged_weights_in_colour_with_the_grey_image() -> None:
    weights = np.random.default_rng(0).normal(size=(3, 4))
    fine = enlarge(weights, 60, 100)[..., None]
    colour = matplotlib.colormaps["inferno"](fine[..., 0])[..., :3] * 255
    expected = (1 - 0.75 * fine) * 200 + 0.75 * fine * colour
    overlay = heatmap_overlay(Image.new("L", (100, 60), 200), weights)
    assert (overlay.size, overlay.mode) == ((100, 60), "RGB")
    np.testing.assert_allclose(np.asarray(overlay), expected, atol=6)


def slow_overlay(image: Image.Image, weights: np.ndarray) -> np.ndarray:
    """Each pixel by itself, in float64: its colour from the 16 of the palette, mixed with its grey."""
    low, high = weights.min(), weights.max()
    stretched = Image.fromarray(((weights - low) / (high - low)).astype(np.float32))
    fine = np.asarray(stretched.resize(image.size, Image.Resampling.BILINEAR), dtype=np.float64)  # (H, W)
    colours = np.array([list(bytes.fromhex(colour)) for colour in image_processing_sct._INFERNO.split()])
    colour = np.stack([np.interp(fine, np.linspace(0, 1, 16), channel) for channel in colours.T], axis=-1)
    grey = np.asarray(image.convert("L"), dtype=np.float64)[..., None]
    return ((1 - 0.75 * fine[..., None]) * grey + 0.75 * fine[..., None] * colour).round()


@pytest.mark.parametrize("size", [(640, 427), (301, 1000), (5, 3), (1, 200), (200, 1), (64, 64), (7, 129)])
@pytest.mark.parametrize("cells", [(14, 14), (1, 1), (3, 40), (32, 2)])
def test_overlay_is_within_a_level_of_a_slow_one(size: tuple[int, int], cells: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    weights = rng.random(cells).astype(np.float32) ** 3
    if weights.size == 1:
        weights = np.concatenate([weights, weights + 1])
    apart = np.abs(np.asarray(heatmap_overlay(image, weights), dtype=float) - slow_overlay(image, weights))
    assert apart.max() <= 1


def test_overlay_of_constant_weights_is_the_grey_image_upright() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = 3  # to be shown turned by 180 degrees
    overlay = heatmap_overlay(image, np.full((2, 2), 0.25))
    grey = np.asarray(Image.fromarray(pixels[::-1, ::-1]).convert("L"))
    np.testing.assert_array_equal(np.asarray(overlay), np.stack([grey] * 3, -1))


def test_box_is_the_connected_part_with_the_peak() -> None:
    """Where the image is small enough for the box to be found pixel by pixel."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        weights = rng.random((5, 7)) ** 3
        fine = enlarge(weights, 60, 91)
        parts, _ = ndimage.label(fine >= fine.max() / 2)
        rows, columns = np.nonzero(parts == parts[np.unravel_index(fine.argmax(), fine.shape)])
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        box = heatmap_box(weights, (91, 60))
        assert list(box) == ["xmin", "ymin", "xmax", "ymax"]
        np.testing.assert_allclose(list(box.values()), expected, atol=1)
        assert all(type(value) is int for value in box.values())


def test_box_of_one_warm_cell_lies_around_it_in_a_large_image() -> None:
    weights = np.zeros((4, 8))
    weights[1, 6] = 1.0
    weights[3, 0] = 0.9  # another part, not connected
    # Bilinear: half of the peak is reached half a cell from its centre, the cell's own bounds.
    box = heatmap_box(weights, (1600, 800))
    assert list(box.values()) == pytest.approx([1200, 200, 1400, 400], abs=2 * 1600 / 128)


def test_box_of_a_constant_map_is_the_image() -> None:
    whole = {"xmin": 0, "ymin": 0, "xmax": 90, "ymax": 50}
    assert heatmap_box(np.full((3, 3), 0.1), (90, 50)) == whole


@pytest.mark.parametrize("size", [(1, 1), (3, 4000), (4000, 3)])
def test_box_of_an_odd_image_lies_within_it(size: tuple[int, int]) -> None:
    box = heatmap_box(np.random.default_rng(0).random((7, 7)), size)
    assert 0 <= box["xmin"] < box["xmax"] <= size[0]
    assert 0 <= box["ymin"] < box["ymax"] <= size[1]
