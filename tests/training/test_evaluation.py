from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset

from sct_hf.errors import InputError
from sct_hf.factory import build_model
from sct_hf.training.evaluation import evaluate_model, model_inputs


class Noise(Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> dict[str, Any]:
        pixels = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(index))
        return {"pixel_values": pixels, "labels": torch.tensor([1.0, 0.0, -1.0]), "index": index}


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator()


def test_scores_equal_one_image_at_a_time(accelerator: Accelerator) -> None:
    model = build_model("test_resnet", ["a", "b"], image_size=32, head="linear")
    loader = accelerator.prepare_data_loader(DataLoader(Noise(), batch_size=3, shuffle=True))
    scores, targets, index = evaluate_model(model, loader, accelerator)
    assert not model.training
    assert index.tolist() == list(range(7))
    assert targets.tolist() == [[1, 0, -1]] * 7
    with torch.no_grad():
        alone = [model(Noise()[number]["pixel_values"][None]).logits.sigmoid()[0].numpy() for number in range(7)]
    np.testing.assert_allclose(scores, np.stack(alone), atol=1e-5)


def test_a_image_counts_once_however_often_it_comes(accelerator: Accelerator) -> None:
    model = build_model("test_resnet", ["a", "b"], image_size=32, head="linear")
    repeated = DataLoader(Noise(), batch_size=4, sampler=[0, 1, 2, 3, 4, 5, 6, 0])
    once = evaluate_model(model, DataLoader(Noise(), batch_size=4), accelerator)
    for found, expected in zip(evaluate_model(model, repeated, accelerator), once, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_scores_that_are_not_numbers(accelerator: Accelerator) -> None:
    model = build_model("test_resnet", ["a", "b"], image_size=32, head="linear")
    model.head.classifier.weight.data.fill_(torch.nan)
    with pytest.raises(InputError, match="not numbers for 7 of 7 images"):
        evaluate_model(model, DataLoader(Noise(), batch_size=4), accelerator)


@pytest.mark.parametrize("channels_last", [True, False])
def test_inputs(channels_last: bool) -> None:
    batch = {"pixel_values": torch.zeros(2, 3, 4, 4), "labels": torch.zeros(2, 2), "index": torch.arange(2)}
    inputs = model_inputs(batch, channels_last=channels_last)
    assert inputs.keys() == {"pixel_values", "labels"}
    assert inputs["pixel_values"].is_contiguous(memory_format=torch.channels_last) is channels_last
