from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from sct_hf.errors import InputError
from sct_hf.training.arguments import DataArguments, ModelArguments, TrainArguments
from sct_hf.training.parsing import RECIPES, parse

Recipe = Callable[[str], str]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    def write(text: str) -> str:
        path = tmp_path / "own.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_recipe_over_defaults_and_command_line_over_recipe(recipe: Recipe) -> None:
    own = recipe(
        "dataset: voc2007\nimage_size: [224, 256]\nlearning_rate: 1e-3\nflip: false\nhidden_size: 64\nclip: null\n"
    )
    arguments = parse(["--recipe", own, "--image_size", "96", "--learning_rate=0.5", "--no_cutout", "--rho", "0.25"])
    assert arguments.data.dataset == "voc2007"
    assert arguments.model.input_size == 96
    assert arguments.train.learning_rate == 0.5
    assert (arguments.data.flip, arguments.data.cutout, arguments.data.rand_augment) == (False, False, True)
    assert arguments.train.batch_size == TrainArguments().batch_size
    assert arguments.model.config_options("sct") == {"hidden_size": 64, "rho": 0.25}
    assert arguments.model.config_options("linear") == {}
    assert parse(["--recipe", own]).model.input_size == [224, 256]


def test_without_recipe_and_data_set_it_is_scenes() -> None:
    assert parse([]).to_dict() == parse(["--recipe", "scenes"]).to_dict()
    assert parse(["--epochs", "2"]).model.compare_head == "linear"
    assert parse(["--dataset", "voc2007"]).train.epochs == TrainArguments().epochs


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_says_only_what_it_changes(path: Path) -> None:
    arguments = parse(["--recipe", path.stem])
    values, wanted = arguments.to_dict(), yaml.safe_load(path.read_text(encoding="utf-8"))
    wanted = {name: float(value) if isinstance(values[name], float) else value for name, value in wanted.items()}
    wanted["image_size"] = [wanted["image_size"]]
    assert {name: values[name] for name in wanted} == wanted
    assert arguments.train.output_dir == f"outputs/{path.stem}"


def test_recipe_of_the_kin() -> None:
    voc, coco = (parse(["--recipe", name]) for name in ("voc2007", "coco"))
    for arguments in (voc, coco):
        assert (arguments.model.backbone, arguments.model.input_size, arguments.train.epochs) == ("resnet101", 448, 60)
        assert (arguments.train.weight_decay, arguments.train.pct_start) == (1e-4, 0.2)
    assert [voc.train.batch_size, voc.train.learning_rate, voc.train.ema_decay] == [64, 9e-5, 0.9983]
    assert [coco.train.batch_size, coco.train.learning_rate, coco.train.ema_decay] == [52, 5e-5, 0.9997]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epocs: 3\n", "'epocs', which is no option; did you mean epochs"),
        ("mixed_precision: fp8\n", "mixed-precision: invalid choice: 'fp8'"),
        ("epochs: many\n", "--epochs: invalid int value: 'many'"),
        ("head: query\n", "head is 'query': choose one of sct"),
        ("- epochs\n", "holds list"),
        ("epochs: [1\n", "is not YAML"),
    ],
)
def test_wrong_recipe(recipe: Recipe, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(["--recipe", recipe(text)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "vok2007"], "recipe is 'vok2007'.*voc2007"),
        (["--freeze-backbon"], "--freeze-backbon is no option; did you mean freeze_backbone"),
        (["--epochs", "0"], "epochs is 0"),
        (["--holdout", "1"], "holdout is 1.0"),
        (["--pct_start=1.5"], "pct_start is 1.5"),
        (["--ema_decay=1"], "ema_decay is 1.0"),
        (["--image_size", "1", "2", "3"], "image_size is"),
        (["--cache_features"], "needs --freeze_backbone"),
        (["--weight_decay=-1"], "weight_decay is -1.0"),
        (["--logit_adjustment=-1"], "logit_adjustment is -1.0"),
        (["--repeat_threshold=0"], "repeat_threshold is 0.0"),
        (["--frequency_groups=many"], "frequency_groups is 'many': give lvis, thirds"),
    ],
)
def test_wrong_option(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(words)


@pytest.mark.parametrize("name", ["scenes", "voc2007", "voc2007_small"])
def test_a_run_tells_a_command_that_asks_for_the_same(name: str) -> None:
    arguments = parse([f"--recipe={name}", "--image_size", "96", "128", "--flip=false", "--output_dir=my run"])
    words = arguments.command()
    assert words[:3] == ["accelerate", "launch", "scripts/train.py"]
    assert not [word for word in words if "recipe" in word]
    assert parse(words[3:]) == arguments


def test_names_are_unique_and_explained() -> None:
    options = [option for kind in (DataArguments, ModelArguments, TrainArguments) for option in fields(kind)]
    names = [option.name for option in options]
    assert len(set(names)) == len(names)
    assert all(option.metadata["help"] for option in options)


def test_head_kwargs_go_to_the_peer_head(recipe: Recipe) -> None:
    text = '{"hidden_size": 64, "num_heads": 2}'
    model = parse(["--head", "query2label", "--head_kwargs", text, "--transport_loss_weight", "0.5"]).model
    wanted = {"head_kwargs": {"hidden_size": 64, "num_heads": 2}, "transport_loss_weight": 0.5}
    assert model.config_options("query2label") == wanted
    own = recipe("dataset: voc2007\nhead: sct\ncompare_head: query2label\nhead_kwargs: {hidden_size: 64}\n")
    model = parse(["--recipe", own]).model
    assert "head_kwargs" not in model.config_options("sct")
    assert model.config_options("query2label") == {"head_kwargs": {"hidden_size": 64}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--head", "csra", "--head_kwargs", "{hidden"], "head_kwargs is '{hidden': write a JSON object, such as"),
        (["--head", "csra", "--head_kwargs", "[1]"], r"head_kwargs=\[1\] does not suit head='csra'.*mapping"),
        (["--head", "csra", "--head_kwargs", '{"lam": 1}'], "does not suit head='csra'.*'lam'"),
        (["--compare_head", "query2label", "--head_kwargs", '{"hidden_size": 6}'], "does not suit head='query2label'"),
        (["--compare_head", "none", "--head_kwargs", "{}"], "it is for a peer head; choose one by --head"),
    ],
)
def test_head_kwargs_that_cannot_be_used(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(["--head", "sct", *words])
