from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nan

from sct_hf.errors import InputError
from sct_hf.training import run
from sct_hf.training.arguments import Arguments
from sct_hf.training.collage import collage
from sct_hf.training.loop import train


def test_images_lie_side_by_side_under_the_labels_of_both() -> None:
    images = torch.arange(5 * 2 * 3 * 4.0).view(5, 2, 3, 4)
    labels = torch.tensor([[1, 0, -1, 0.3, 1, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0.6, nan, nan], [1.0] * 6, [0.0] * 6])
    joined = collage({"pixel_values": images, "labels": labels})
    assert joined["pixel_values"].shape == (2, 2, 3, 8)
    assert joined["pixel_values"][0, 1, 2].tolist() == [*images[0, 1, 2].tolist(), *images[2, 1, 2].tolist()]
    expected = torch.tensor([[1, 0, nan, 0.6, 1, nan], [1, 1, 1, 1, 1, 1]])
    torch.testing.assert_close(joined["labels"], expected, equal_nan=True)


def test_a_single_image_is_left_as_it_is() -> None:
    batch = {"backbone_features": torch.ones(1, 2, 3, 3), "labels": torch.ones(1, 2)}
    assert collage(batch) is batch


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 1, 11), (1.0, 12, 12)])
def test_the_share_of_the_batches(
    tmp_path: Path,
    tiny: Callable[..., Arguments],
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    least: int,
    most: int,
) -> None:
    widths: list[int] = []

    def join(inputs: dict[str, Any]) -> dict[str, Any]:
        joined = collage(inputs)
        widths.append(joined["pixel_values"].shape[-1])
        return joined

    monkeypatch.setattr(run, "collage", join)
    train(tiny(output_dir=tmp_path, collage=share))
    assert least <= len(widths) <= most
    assert set(widths) <= {64}


def test_a_backbone_of_one_size(tmp_path: Path, tiny: Callable[..., Arguments]) -> None:
    with pytest.raises(
        InputError, match=r"collage is set, .*160×320, but test_vit was made for 160×160.*leave out --collage"
    ):
        train(tiny(output_dir=tmp_path, collage=0.5, backbone="test_vit", image_size=160))


def test_a_batch_without_pairs(tmp_path: Path, tiny: Callable[..., Arguments]) -> None:
    with pytest.raises(InputError, match="batch_size is 1 for 1 processes, but collage joins pairs: give at least 2"):
        train(tiny(output_dir=tmp_path, collage=0.5, batch_size=1))
