from pathlib import Path

import pytest
import torch

from sct_hf.factory import build_model
from sct_hf.training.ema import AveragedModel, load_weights, save_weights
from sct_hf.training.models import TaggingModel


def tagger(labels: str = "ab") -> TaggingModel:
    return build_model("test_resnet", list(labels), image_size=32, head="linear")


@pytest.mark.parametrize(("decay", "warmup"), [(0.9, False), (0.9, True), (0.0, True)])
def test_average_against_a_slow_reference(decay: float, warmup: bool) -> None:
    model = tagger()
    average = AveragedModel(model, decay, warmup)
    reference = {name: value.double() for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 40):
        with torch.no_grad():
            for value in model.state_dict().values():  # weights and the statistics of batch norms
                if value.is_floating_point():
                    value.add_(torch.randn(value.shape, generator=generator))
                else:
                    value.add_(1)
        # The first update takes the weights as they are; after that the decay may rise to its final value.
        kept = 0.0 if step == 1 else min(decay, 1 - step ** (-2 / 3)) if warmup else decay
        for name, value in model.state_dict().items():
            reference[name] = kept * reference[name] + (1 - kept) * value if value.is_floating_point() else value
        average.update(model, step)
    assert not average.model.training
    for name, value in average.model.state_dict().items():
        torch.testing.assert_close(value.double(), reference[name].double(), rtol=1e-4, atol=1e-4)


def test_weights_round_trip(tmp_path: Path) -> None:
    model, other = tagger(), tagger()
    model.backbone.to(memory_format=torch.channels_last)
    save_weights(model.state_dict(), tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_weights(tagger("abc"), tmp_path / "w.safetensors")
