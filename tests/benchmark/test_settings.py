import pytest

from sct_hf.benchmark.contenders import CONTENDERS, Contender
from sct_hf.benchmark.settings import TrainSize, file_name, named, train_size, value_of, with_settings
from sct_hf.errors import InputError
from sct_hf.training.arguments import Arguments, DataArguments, ModelArguments, TrainArguments

BASE = Arguments(DataArguments(), ModelArguments(), TrainArguments(epochs=12, batch_size=64))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", TrainSize("all", 2500, 12, 64)),  # 39 batches, 468 steps
        ("800", TrainSize("800", 800, 34, 64)),  # 12 batches of 64: 33 epochs would be 396 steps
        ("200", TrainSize("200", 200, 34, 16)),  # 12 batches of 16
        ("50", TrainSize("50", 50, 67, 8)),  # 6 batches of 8
        ("3", TrainSize("3", 3, 400, 8)),
        ("200:5:7", TrainSize("200", 200, 5, 7)),
        ("all:1:2", TrainSize("all", 2500, 1, 2)),
    ],
)
def test_train_sizes(text: str, expected: TrainSize) -> None:
    assert train_size(text, 2500, BASE.train) == expected


@pytest.mark.parametrize("text", ["0", "-5", "200:", "200:5", "all:0:4", "1e3", ""])
def test_train_sizes_of_another_form(text: str) -> None:
    with pytest.raises(InputError, match="train_sizes has"):
        train_size(text, 2500, BASE.train)


def test_later_settings_win_and_the_base_stays() -> None:
    changed = with_settings(BASE, {"epochs": 3, "rho": 0.25}, {"epochs": 4, "holdout": 0.5})
    assert (changed.train.epochs, changed.model.set, changed.data.holdout) == (4, {"rho": 0.25}, 0.5)
    assert (BASE.train.epochs, BASE.model.set) == (12, {})
    assert [value_of(changed, name) for name in ("epochs", "rho", "clip", "scorer")] == [4, 0.25, 0.0, "linear"]
    peer = with_settings(changed, {"head": "linear", "gamma_neg": 3.0})
    assert peer.model.set == {"gamma_neg": 3.0}  # rho is none of its fields
    with pytest.raises(InputError, match="rho is no field of head linear"):
        with_settings(peer, {"rho": 0.5})
    with pytest.raises(InputError, match="'epoch', which is no option of training; did you mean epochs"):
        with_settings(BASE, {"epoch": 3})
    with pytest.raises(InputError, match="epochs is 0"):
        with_settings(BASE, {"epochs": 0})


def test_candidates_and_edges() -> None:
    one = Contender("one", {"head": "linear"}, {"learning_rate": (1, 2, 3), "weight_decay": (4, 5)})
    assert [tuple(setting.values()) for setting in one.candidates()] == [
        (1, 4),
        (1, 5),
        (2, 4),
        (2, 5),
        (3, 4),
        (3, 5),
    ]
    assert one.at_edge({"learning_rate": 3, "weight_decay": 4}) == ["learning_rate"]
    assert one.at_edge({"learning_rate": 2, "weight_decay": 5}) == []
    for name in ("epochs", "backbone", "image_size", "holdout"):
        with pytest.raises(InputError, match=f"contender 'one' sets '{name}', which all heads share"):
            Contender("one", {name: 1})


@pytest.mark.parametrize("name", list(CONTENDERS))
def test_every_contender_can_be_used(name: str) -> None:
    for setting in CONTENDERS[name].candidates():
        assert with_settings(BASE, CONTENDERS[name].settings, setting).model.head == CONTENDERS[name].settings["head"]
    names = {file_name(named(setting)).name for setting in CONTENDERS[name].candidates()}
    assert len(names) == len(CONTENDERS[name].candidates())


def test_names_of_settings() -> None:
    assert named({"learning_rate": 3e-3, "head_kwargs": {"a": 1}, "figures": True}) == (
        "learning_rate=0.003, head_kwargs={'a': 1}, figures=True"
    )
    assert str(file_name('learning_rate=0.003, head_kwargs={"a": 1}')) == "learning_rate=0.003,head_kwargs=_a_1"
