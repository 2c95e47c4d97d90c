import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import ViTImageProcessor

from sct_hf.data.transforms import Cutout, eval_transform, train_transform
from sct_hf.errors import InputError

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def noise_image(height: int, width: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("size", "sides"), [(32, (32, 32)), ([48, 20], (48, 20)), (224, (224, 224))])
def test_eval_transform_is_the_processor_of_transformers(size: int | list[int], sides: tuple[int, int]) -> None:
    processor = ViTImageProcessor(
        size={"height": sides[0], "width": sides[1]},
        resample=Image.Resampling.BILINEAR,
        image_mean=MEAN,
        image_std=STD,
    )
    image = noise_image(61, 90)
    expected = processor(image, return_tensors="pt")["pixel_values"][0]
    found = eval_transform(size, MEAN, STD)(image)
    assert (found.dtype, found.is_contiguous()) == (torch.float32, True)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_the_whole_image_is_kept() -> None:
    image = noise_image(40, 60)
    flat = eval_transform([40, 60], [0.0] * 3, [1.0] * 3)(image)
    np.testing.assert_allclose(flat.permute(1, 2, 0).numpy() * 255, np.asarray(image), atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), height=st.integers(4, 40), width=st.integers(4, 40))
def test_cutout_paints_one_box_of_one_colour(seed: int, height: int, width: int) -> None:
    torch.manual_seed(seed)
    before = torch.full((3, height, width), 7, dtype=torch.uint8)
    kept = before.clone()
    after = Cutout()(before)
    assert torch.equal(before, kept)
    changed = (after != before).any(dim=0)
    if changed.any():
        rows, columns = changed.any(dim=1).nonzero()[:, 0], changed.any(dim=0).nonzero()[:, 0]
        box = after[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (box == box[:, :1, :1]).all()
        assert changed.sum() == box[0].numel()
        assert box.shape[1] <= height // 2
        assert box.shape[2] <= width // 2


def test_cutout_centres_cover_the_image() -> None:
    torch.manual_seed(0)
    blank = torch.zeros(3, 16, 24, dtype=torch.uint8)
    painted = torch.stack([(Cutout()(blank) != 0).any(dim=0) for _ in range(600)]).float()
    whole = [tuple(mask.sum().tolist() for mask in (p.any(dim=1), p.any(dim=0))) for p in painted]
    assert max(whole) == (8, 12)
    share = painted.mean(dim=0)
    # A pixel is covered by the centres within a quarter of the side: 1/2 * 1/2 inside, half as often at an edge.
    assert abs(share[8, 12] - 0.25) < 0.06
    assert abs(share[0, 12] - 0.125) < 0.05


def test_flip_is_a_mirror_image_half_of_the_time() -> None:
    image = noise_image(8, 8)
    transform = train_transform(8, MEAN, STD, cutout=False, rand_augment=False)
    plain = eval_transform(8, MEAN, STD)(image)
    torch.manual_seed(0)
    found = [transform(image) for _ in range(200)]
    flipped = sum(torch.equal(item, plain.flip(-1)) for item in found)
    assert flipped + sum(torch.equal(item, plain) for item in found) == 200
    assert 70 < flipped < 130


def test_train_transform_follows_the_seed_of_torch() -> None:
    image = noise_image(50, 40)
    transform = train_transform([24, 32], MEAN, STD)
    torch.manual_seed(1)
    first = [transform(image) for _ in range(4)]
    torch.manual_seed(1)
    again = [transform(image) for _ in range(4)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert first[0].shape == (3, 24, 32)
    assert first[0].dtype == torch.float32


def test_without_augmentation_both_transforms_agree() -> None:
    image = noise_image(50, 40)
    transform = train_transform(24, MEAN, STD, flip=False, cutout=False, rand_augment=False)
    assert torch.equal(transform(image), eval_transform(24, MEAN, STD)(image))


@pytest.mark.parametrize("size", [0, -3, [4], [4, 4, 4], [4, 0], [4.5, 4]])
def test_bad_sizes(size: int) -> None:
    with pytest.raises(InputError, match="image_size is"):
        eval_transform(size, MEAN, STD)


@pytest.mark.parametrize(
    ("mean", "std", "field"),
    [([0.5], STD, "image_mean"), (MEAN, [1.0] * 4, "image_std"), (MEAN, [0.0] * 3, "image_std")],
)
def test_bad_normalisation(mean: list[float], std: list[float], field: str) -> None:
    with pytest.raises(InputError, match=f"{field} is"):
        train_transform(8, mean, std)
