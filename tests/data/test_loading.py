from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image
from torch.utils.data import DataLoader

from sct_hf.data.base import LabelledImages
from sct_hf.data.image_sources import ImageColumn
from sct_hf.data.loading import ImageDataset
from sct_hf.data.transforms import eval_transform, train_transform
from sct_hf.errors import InputError

MEAN, STD = [0.5] * 3, [0.25] * 3


@pytest.fixture
def images(make_images: Callable[..., LabelledImages]) -> LabelledImages:
    return make_images(
        [(["ant"], []), (["bee"], ["ant"]), ([], []), (["ant", "bee"], []), ([], ["bee"])], ["ant", "bee"]
    )


@pytest.fixture
def dataset(images: LabelledImages) -> ImageDataset:
    return ImageDataset(images, train_transform(16, MEAN, STD), seed=5)


def test_items_are_the_images_and_their_targets(images: LabelledImages) -> None:
    transform = eval_transform(16, MEAN, STD)
    dataset = ImageDataset(images, transform)
    assert len(dataset) == 5
    for index in range(5):
        item = dataset[index]
        assert item.keys() == {"pixel_values", "labels", "index"}
        assert torch.equal(item["pixel_values"], transform(images.image(index)))
        assert item["labels"].tolist() == images.targets()[index].tolist()
        assert item["labels"].dtype == item["pixel_values"].dtype == torch.float32
        assert item["index"] == index


def test_an_item_depends_on_seed_epoch_and_index_alone(images: LabelledImages, dataset: ImageDataset) -> None:
    def pixels(chosen: ImageDataset, order: list[int]) -> dict[int, torch.Tensor]:
        return {index: chosen[index]["pixel_values"] for index in order}

    first = pixels(dataset, [0, 1, 2, 3, 4])
    torch.manual_seed(99)
    again = pixels(dataset, [4, 2, 0, 3, 1])
    assert all(torch.equal(first[index], again[index]) for index in first)
    dataset.set_epoch(1)
    assert any(not torch.equal(first[index], dataset[index]["pixel_values"]) for index in first)
    dataset.set_epoch(0)
    assert all(torch.equal(first[index], dataset[index]["pixel_values"]) for index in first)
    other = pixels(ImageDataset(images, dataset.transform, seed=6), [0, 1, 2, 3, 4])
    assert any(not torch.equal(first[index], other[index]) for index in first)


def test_a_repeated_image_is_augmented_anew(dataset: ImageDataset) -> None:
    first, *further = (dataset[2, repeat] for repeat in range(4))
    assert torch.equal(first["pixel_values"], dataset[2]["pixel_values"])
    assert torch.equal(further[0]["pixel_values"], dataset[2, 1]["pixel_values"])
    assert all(item["index"] == 2 and torch.equal(item["labels"], first["labels"]) for item in further)
    different = {item["pixel_values"].numpy().tobytes() for item in (first, *further)}
    assert len(different) > 1


def test_torch_is_left_as_it_was(dataset: ImageDataset) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    dataset[0]
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing_and_follow_the_epoch(dataset: ImageDataset, workers: int) -> None:
    loader = DataLoader(dataset, batch_size=2, num_workers=workers, persistent_workers=True)
    for epoch in (0, 1, 7):
        dataset.set_epoch(epoch)
        found = {int(i): p for batch in loader for i, p in zip(batch["index"], batch["pixel_values"], strict=True)}
        assert found.keys() == {0, 1, 2, 3, 4}
        assert all(torch.equal(found[index], dataset[index]["pixel_values"]) for index in found)


def test_a_file_that_breaks_later_is_named(images: LabelledImages) -> None:
    dataset = ImageDataset(images, eval_transform(16, MEAN, STD))
    path = Path(images.encoded(3)["path"])
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError) as caught:
        dataset[3]
    assert f"image 'p3' of data set 'made' cannot be decoded: {path}" in str(caught.value)
    path.unlink()
    with pytest.raises(InputError, match=r"cannot be decoded: .*3\.png"):
        dataset[3]
    with pytest.raises(InputError, match=r"3\.png"):
        list(DataLoader(dataset, batch_size=5, num_workers=1))


def test_broken_bytes_are_named_by_their_image() -> None:
    column = Dataset.from_list([{"image": {"bytes": b"nothing", "path": None}}], features=Features(image=Image()))
    marks = np.zeros((1, 2), dtype=np.int8)
    broken = LabelledImages(ImageColumn(column), marks, ["ant", "bee"], ["q"], "made", "train")
    with pytest.raises(InputError, match=r"image 'q' .* cannot be decoded: its bytes"):
        ImageDataset(broken, eval_transform(16, MEAN, STD))[0]
