"""Maps as a mask: cases by hand."""

import numpy as np
import pytest

from sct_hf.inference.masks import NO_LABEL, index_masks


def test_by_hand() -> None:
    """The largest map wins, the first of equal ones, and below the threshold nobody."""
    first, second = np.array([[1.0, 0.5], [0.25, 0]]), np.array([[0, 0.75], [0.25, 1.0]])
    low, high = index_masks([first, second], [4, 2], (2, 2), [0.25, 0.8])
    assert low.tolist() == [[4, 2], [4, 2]]
    assert high.tolist() == [[4, NO_LABEL], [NO_LABEL, 2]]


def test_maps_compete_scaled_to_their_own_range() -> None:
    (mask,) = index_masks([np.array([[10.0, 30.0]]), np.array([[-1.0, -2.0]])], [0, 1], (2, 1), [0.5])
    assert mask.tolist() == [[1, 0]]


def test_enlarged_bilinearly() -> None:
    """Two regions of four pixels each: between their centres, 0 at pixel 1.5 and 1 at pixel 5.5, the map is linear."""
    (mask,) = index_masks([np.array([[0.0, 1.0]])], [0], (8, 1), [0.6])
    places = np.clip((np.arange(8) - 1.5) / 4, 0, 1)
    assert mask[0].tolist() == np.where(places >= 0.6, 0, NO_LABEL).tolist()


def test_a_constant_map_fills_the_image_and_no_map_leaves_it_empty() -> None:
    (mask,) = index_masks([np.full((2, 3), -7.0)], [5], (4, 3), [1.0])
    assert mask.shape == (3, 4)
    assert (mask == 5).all()
    (mask,) = index_masks([], [], (4, 3), [0.0])
    assert (mask == NO_LABEL).all()


def test_a_broken_map() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        next(index_masks([np.array([[0, np.inf]])], [0], (2, 2), [0.5]))
