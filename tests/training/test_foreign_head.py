"""A head from outside the package: one class and one registration, and it trains, is saved and loads."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForImageClassification

from sct_hf.errors import InputError
from sct_hf.peers.registry import HEADS, register_head
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train


class ToyHead(nn.Module):
    """Two branches: the brightest region scores, the mean region has a loss of its own."""

    branch_weights = {"mean": 0.5}  # noqa: RUF012

    def __init__(self, num_features: int, num_labels: int, bias: bool = True) -> None:
        super().__init__()
        self.classifier = nn.Linear(num_features, num_labels, bias=bias)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        scores = self.classifier(features.flatten(2).transpose(1, 2))
        return {"brightest": scores.amax(1), "mean": scores.mean(1)}


@pytest.fixture
def toy() -> Iterator[str]:
    register_head("toy")(ToyHead)
    yield "toy"
    del HEADS["toy"]


def test_it_trains_is_saved_and_loads(tmp_path: Path, tiny: Callable[..., Arguments], toy: str) -> None:
    options = {"head": toy, "head_kwargs": {"bias": False}}
    train(tiny(output_dir=tmp_path / "run", compare_head="linear", **options))
    for row in json.loads((tmp_path / "run" / "history.json").read_text()):
        assert row["loss"] == pytest.approx(row["losses/brightest"] + 0.5 * row["losses/mean"], rel=1e-5)
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "run").eval()
    assert isinstance(model.head, ToyHead)
    assert model.head.classifier.bias is None
    features = torch.randn(2, model.backbone.num_features, 2, 2)
    regions = features.flatten(2).transpose(1, 2)
    expected = (regions @ model.head.classifier.weight.T).amax(1)
    torch.testing.assert_close(model(backbone_features=features).logits, expected)
    with pytest.raises(InputError, match=r"head_kwargs=.* does not suit head='toy'"):
        tiny(**options | {"head_kwargs": {"wide": 3}})


def test_where_its_module_is_not_imported_the_remedy_is_said(
    tmp_path: Path, tiny: Callable[..., Arguments], toy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny(output_dir=tmp_path / "run", head="linear", compare_head=toy, epochs=1))
    with monkeypatch.context() as patch:
        patch.delitem(HEADS, toy)
        with pytest.raises(Exception, match=r"head='toy' does not exist: .* or import the module that registers it"):
            AutoModelForImageClassification.from_pretrained(tmp_path / "run" / toy)
        with pytest.raises(InputError, match=r"head is 'toy': choose from sct, .*linear"):
            tiny(head=toy)
    assert AutoModelForImageClassification.from_pretrained(tmp_path / "run" / toy).config.head == toy


def test_a_name_belongs_to_one_class(toy: str) -> None:
    register_head(toy)(ToyHead)  # the same module, imported again
    with pytest.raises(ValueError, match=r"head='linear' is registered twice, as sct_hf.peers.linear.LinearHead and"):
        register_head("linear")(ToyHead)
    assert HEADS["linear"].__name__ == "LinearHead"
