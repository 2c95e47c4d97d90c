"""An objective from outside the package: one class, its options and one registration, and it trains."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageClassification

from sct_hf.errors import InputError
from sct_hf.objectives.base import OBJECTIVES, Context, Objective, Step, register_objective
from sct_hf.options import CheckedOptions, option
from sct_hf.training.arguments import Arguments
from sct_hf.training.identity import run_identity
from sct_hf.training.loop import train
from sct_hf.training.parsing import parse

Tiny = Callable[..., Arguments]


@dataclass
class ToyOptions(CheckedOptions):
    toy_weight: float = option(0.0, "Weight of the spread of logits.", group="toy", within=">= 0")


class Toy(Objective):
    """Pulls a batch's logits together, by a factor that is trained."""

    Options = ToyOptions

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight, self.factor = weight, torch.nn.Parameter(torch.ones(1))

    @classmethod
    def from_options(cls, options: ToyOptions, context: Context) -> "Toy | None":
        return cls(options.toy_weight) if options.toy_weight else None

    def forward(self, step: Step) -> dict[str, Tensor]:
        return {"toy": (self.factor * step.logits.var()).squeeze()}

    def weights(self, progress: float) -> dict[str, float]:
        return {"toy": self.weight}


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    register_objective("toy")(Toy)
    yield
    del OBJECTIVES["toy"]


def digits(folder: Path) -> Any:
    names = ("epoch", "step", "loss", "holdout_mAP")
    rows = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    return [{key: value for key, value in row.items() if key in names or "losses/" in key} for row in rows]


@pytest.mark.parametrize("head", ["sct", "linear"])
def test_it_trains_beside_the_model(tmp_path: Path, tiny: Tiny, head: str) -> None:
    options: dict[str, Any] = {"head": head, "seed": 3}
    for name, weight in (("plain", 0.0), ("toy", 0.7)):
        train(tiny(output_dir=tmp_path / name, toy_weight=weight, **options))
    plain, found = digits(tmp_path / "plain"), digits(tmp_path / "toy")
    weights = {"losses/map": 0.8, "losses/transport": 0.1, "losses/toy": 0.7}
    for row in found:
        parts = sum(weights.get(name, 1) * value for name, value in row.items() if name.startswith("losses/"))
        assert row["loss"] == pytest.approx(parts, rel=1e-5)
    assert "losses/toy" not in plain[0]
    assert found[-1]["losses/toy"] < found[0]["losses/toy"]
    models = [AutoModelForImageClassification.from_pretrained(tmp_path / name) for name in ("plain", "toy")]
    assert models[0].state_dict().keys() == models[1].state_dict().keys()
    recorded = json.loads((tmp_path / "toy" / "training_args.json").read_text(encoding="utf-8"))
    assert recorded["arguments"]["toy_weight"] == 0.7


def test_its_options_are_those_of_training(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_identity(tiny(toy_weight=0.5))["toy_weight"] == 0.5
    assert "--toy_weight=0.5" in tiny(toy_weight=0.5).command()
    with pytest.raises(InputError, match=r"toy_weight is -1.0: give a number >= 0"):
        tiny(toy_weight=-1.0)
    with pytest.raises(SystemExit):
        parse(["--help"])
    assert "Weight of the spread of logits." in capsys.readouterr().out


def test_a_continued_run_keeps_what_it_trains(tmp_path: Path, tiny: Tiny) -> None:
    options: dict[str, Any] = {"toy_weight": 0.7, "epochs": 3, "checkpoint_every": 2}
    train(tiny(output_dir=tmp_path / "whole", **options))
    calls = []

    class KilledError(Exception):
        pass

    forward = Toy.forward

    def stop(self: Toy, step: Step) -> dict[str, Tensor]:
        calls.append(1)
        if len(calls) == 9:
            raise KilledError
        return forward(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Toy, "forward", stop)
        with pytest.raises(KilledError):
            train(tiny(output_dir=tmp_path / "run", **options))
    train(tiny(output_dir=tmp_path / "run", resume=True, **options))
    assert digits(tmp_path / "run") == digits(tmp_path / "whole")


def test_a_treatment_of_unknown_labels_is_one_of_the_choices(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forget(Objective):
        """Takes unknown labels as present."""

        treatment = "forget"

        @classmethod
        def from_options(cls, options: Any, context: Context) -> "Forget | None":
            return cls() if context.options_of("unknown_labels").unknown_labels == cls.treatment else None

        def prepare(self, inputs: dict[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
            asked.append(bool((labels < 0).any()))
            return inputs, labels.where(labels >= 0, 1.0)

    asked: list[bool] = []
    with pytest.raises(InputError, match=r"unknown_labels is 'forget': choose from ignore, .*recover"):
        tiny(unknown_labels="forget")
    monkeypatch.setitem(OBJECTIVES, "forget", Forget)
    train(tiny(output_dir=tmp_path / "run", epochs=1, known_proportion=0.5, unknown_labels="forget"))
    assert any(asked)
