import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from sct_hf import SCTConfig, SCTForMultiLabelClassification
from sct_hf.errors import InputError
from sct_hf.training.arguments import ModelArguments, TrainArguments
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
        "dataset: voc2007\nimage_size: [224, 256]\nlearning_rate: 1e-3\naugment: flip\nhidden_size: 64\nscorer: null\n"
        "set:\n  rho: 0.5\n  temperature: 1e-2\n"
    )
    words = [
        "--recipe",
        own,
        "--image_size",
        "96",
        "--learning_rate=0.5",
        "--set",
        "rho=0.25",
        "--set=encoder_layers=2",
    ]
    arguments = parse(words)
    assert arguments.data.dataset == "voc2007"
    assert arguments.model.input_size == 96
    assert arguments.train.learning_rate == 0.5
    assert arguments.data.augmentations == {"flip": True, "cutout": False, "rand_augment": False}
    assert arguments.train.batch_size == TrainArguments().batch_size
    settings = {"rho": 0.25, "temperature": 0.01, "encoder_layers": 2}
    assert arguments.model.config_options("sct") == {"hidden_size": 64} | settings
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
    if isinstance(wanted.get("augment"), str):
        wanted["augment"] = [wanted["augment"]]
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
        ("head: query\n", "head is 'query': choose from sct"),
        ("- epochs\n", "holds list"),
        ("epochs: [1\n", "own.yaml, line 2: the text is not YAML"),
        ("epochs: 1\nseed: 1\nepochs: 2\n", "line 3: the text is not YAML .key 'epochs' stands twice"),
        ("epochs: &e [*e]\n", "a value holds itself"),
        ("dropout: 2026-01-01\n", "give --set dropout=2026-01-01"),
        ("", "own.yaml: the file is empty"),
    ],
)
def test_wrong_recipe(recipe: Recipe, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(["--recipe", recipe(text)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"epochs: 3\nbackbone: r\xe9snet\n", "own.yaml, line 2: byte 0xe9 is not UTF-8, in .*save the file as UTF-8"),
        ("epochs: 3\n".encode("utf-16"), "the text is UTF-16"),
        (b"PK\x03\x04", "the file is a zip archive"),
    ],
)
def test_a_recipe_that_is_no_text(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "own.yaml").write_bytes(data)
    with pytest.raises(InputError, match=message):
        parse(["--recipe", str(tmp_path / "own.yaml")])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "r" * 5000], "give a YAML file or one of"),
        (["--set", "dropout=" + "[" * 100_000], "dropout"),
        (["--recipe", "vok2007"], "recipe is 'vok2007'.*voc2007"),
        (["--freeze-backbon"], "--freeze-backbon is no option; did you mean --freeze_backbone"),
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


def test_settings_of_a_recipe_are_for_the_heads_that_have_them(recipe: Recipe) -> None:
    own = recipe("dataset: voc2007\nset: {dropout: 0.2, gamma_neg: 3}\n")
    assert parse(["--recipe", own, "--head=linear"]).model.set == {"gamma_neg": 3}
    both = parse(["--recipe", own, "--head=linear", "--compare_head=sct"]).model
    assert both.set == {"dropout": 0.2, "gamma_neg": 3}
    assert (both.config_options("linear"), both.config_options("sct")) == ({"gamma_neg": 3}, both.set)
    with pytest.raises(InputError, match=r"set has dropuot=0\.2, .*did you mean dropout"):
        parse(["--recipe", recipe("dataset: voc2007\nset: {dropuot: 0.2}\n")])


@pytest.mark.parametrize("name", ["scenes", "voc2007", "voc2007_small"])
def test_a_run_tells_a_command_that_asks_for_the_same(name: str) -> None:
    arguments = parse([f"--recipe={name}", "--image_size", "96", "128", "--augment=none", "--output_dir=my run"])
    words = arguments.command()
    assert words[:2] == ["sct-hf", "train"]
    assert not [word for word in words if "recipe" in word]
    assert parse(words[2:]) == arguments


@pytest.mark.parametrize(
    "name", [file.stem for file in RECIPES.glob("*.yaml") if "init_checkpoint" in file.read_text()]
)
def test_a_recipe_fits_the_run_of_another_that_it_starts_from(name: str) -> None:
    later = parse([f"--recipe={name}"])
    runs = [parse([f"--recipe={file.stem}"]) for file in RECIPES.glob("voc2007*.yaml")]
    (earlier,) = (run for run in runs if str(run.train.output_dir) == str(later.model.init_checkpoint))
    shapes = []
    for run in (earlier, later):
        fields = {"backbone": run.model.backbone, "image_size": run.model.image_size[0]}
        with torch.device("meta"):
            model = SCTForMultiLabelClassification(SCTConfig(**fields, **run.model.config_options("sct")))
        shapes.append({key: value.shape for key, value in model.state_dict().items()})
    assert shapes[0] == shapes[1]


def test_head_kwargs_go_to_the_peer_head(recipe: Recipe) -> None:
    text = '{"hidden_size": 64, "num_heads": 2}'
    words = ["--head", "query2label", "--set", f"head_kwargs={text}", "--transport_loss_weight", "0.5"]
    model = parse(["--dataset", "voc2007", *words]).model
    wanted = {"head_kwargs": {"hidden_size": 64, "num_heads": 2}, "transport_loss_weight": 0.5}
    assert model.config_options("query2label") == wanted
    own = recipe("dataset: voc2007\nhead: sct\ncompare_head: query2label\nset: {head_kwargs: {hidden_size: 64}}\n")
    model = parse(["--recipe", own]).model
    assert "head_kwargs" not in model.config_options("sct")
    assert model.config_options("query2label") == {"head_kwargs": {"hidden_size": 64}}
    assert model.with_head("query2label").set == {"head_kwargs": {"hidden_size": 64}}
    model = ModelArguments(
        head="csra", compare_head="linear", set={"head_kwargs": {"residual_weight": 0.2}, "clip": 0}
    )
    assert model.with_head("linear").set == {"clip": 0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--head", "csra", "--set", "head_kwargs={hidden"],
            "head csra cannot be used: .*'head_kwargs'.*'{hidden'",
        ),
        (["--head", "csra", "--set", "head_kwargs=[1]"], r"of head csra cannot be used: .*'head_kwargs'.*\[1\]"),
        (["--head", "csra", "--set", 'head_kwargs={"lam": 1}'], "does not suit head='csra'.*'lam'"),
        (["--compare_head=query2label", "--set", "head_kwargs={hidden_size: 6}"], "does not suit head='query2label'"),
        (["--set", "head_kwargs={}"], "head_kwargs is no field of head sct"),
    ],
)
def test_head_kwargs_that_cannot_be_used(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(["--dataset", "voc2007", *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--set", "encoder_layer=2"],
            "set has encoder_layer=2, .*; did you mean encoder_layers",
        ),
        (["--set", "hidden_size=2"], "set has hidden_size=2, which is an option: give --hidden_size"),
        (["--set", "dropout"], "--set: 'dropout' is not a setting: write field=value"),
        (["--set", "dropout=much"], "settings of head sct cannot be used: .*'dropout'.*'much'"),
        (
            ["--set", "dropout=2"],
            r"head sct cannot be used: dropout=2 cannot be used: give a number in \[0, 1\)",
        ),
        (["--set", "guidance=none"], "set has guidance=none, a field of earlier versions: this part is fixed"),
        (["--set", "text_recipe={}"], "text_recipe is no field of head sct"),  # the labels bring it
        (["--head", "linear", "--set", "dropout=0.2"], "dropout is no field of head linear"),
        (["--augment", "none", "flip"], "augment is .*: leave none out"),
    ],
)
def test_settings_that_cannot_be_used(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(["--dataset", "voc2007", *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dropout", "0.2"], "--dropout is no option: give --set dropout=0.2, or"),
        (["--gamma_neg=3"], "--gamma_neg=3 is no option: give --set gamma_neg=3, or"),
        (["--head_kwargs", '{"hidden_size": 8}'], """give --set 'head_kwargs={"hidden_size": 8}', or"""),
        (
            ["--flip=false"],
            "--flip=false is no option: it is a choice of --augment; give .* flip, cutout, rand_augment",
        ),
        (["--map_pooling=max"], "--map_pooling=max is no option: this part is fixed since"),
        (["--no_label_pooling"], "--no_label_pooling is no option: this part is fixed since"),
        (["--label_states", "true"], "--label_states is no option: .* train with --head sct_known_labels"),
        (["--no_cutout"], "--no_cutout is no option: it is a choice of --augment"),
        (["--encoder_layer=1"], "--encoder_layer=1 is no option; did you mean --set encoder_layers"),
    ],
)
def test_an_option_of_before_is_told_where_it_is_now(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message) if "{" in message else message):
        parse(["--dataset", "voc2007", *words])


def test_a_recipe_of_before_is_told_where_its_keys_are_now(recipe: Recipe) -> None:
    with pytest.raises(InputError, match=r"'dropout', which is no option: give --set dropout=0\.2, or write it below"):
        parse(["--recipe", recipe("dropout: 0.2\n")])
    with pytest.raises(InputError, match="has set: 3; write `field: value` lines below it"):
        parse(["--recipe", recipe("set: 3\n")])
