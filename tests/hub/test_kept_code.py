"""The code that travels with a checkpoint: all of it is there, and stays when others train the model on."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline
from transformers.dynamic_module_utils import get_relative_import_files

import sct_hf.model
from sct_hf.factory import image_processor
from sct_hf.hub.checks import read_run
from sct_hf.hub.publish import prepared, upload
from sct_hf.hub.repository import assemble, auto_map, custom_pipelines
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification
from sct_hf.peers.registry import MODELS
from tests.hub.stand_in import Hub, environment, running
from tests.model.tiny import tiny_config

CODE = sorted(Path(sct_hf.model.__path__[0]).glob("*_sct.py"))
TASK = "multi-label-image-classification"

VARIANT = """
from sct_hf.model.configuration_sct import SCTConfig
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification, SCTModel
from sct_hf.peers.registry import register_head


class ShiftedConfig(SCTConfig):
    model_type = "sct_shifted"
    shift: float = 0.5


class ShiftedModel(SCTModel):
    config_class = ShiftedConfig


@register_head("sct_shifted")
class ShiftedForMultiLabelClassification(SCTForMultiLabelClassification):
    config_class = ShiftedConfig
    base_model_class = ShiftedModel

    def forward(self, *args, **kwargs):
        from sct_hf.model.layers_sct import aggregate  # inside a function too

        output = super().forward(*args, **kwargs)
        output.logits = output.logits + self.config.shift
        return output
"""
TRAVELLING = (
    VARIANT.replace("from sct_hf.model.", "from .")
    .replace("from sct_hf.peers.registry import register_head\n", "")
    .replace('@register_head("sct_shifted")\n', "")
)


def test_transformers_finds_all_of_it_from_the_models_file() -> None:
    """What it does not find by relative imports, it leaves behind when a stranger's model is saved."""
    file = sys.modules[SCTForMultiLabelClassification.__module__].__file__
    assert {file, *get_relative_import_files(file)} == set(map(str, CODE))


def test_ten_files_travel_at_most() -> None:
    assert len(CODE) <= 10


# Publish, load without the package, train, save, load without the package


@pytest.fixture(scope="module")
def hub_of_all() -> Iterator[Hub]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def published(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is published, not loaded by anyone yet."""
    return publishable(trained, tmp_path_factory.mktemp("published") / "colours")


def publishable(run: Path, target: Path) -> Path:
    target.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sct_hf.hub.repository._check_alone", lambda run, folder: None)
        assemble(read_run(run), "me/colours", target)
    return target


@pytest.fixture
def alone(hub_of_all: Hub, packages: Path, image: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a part of trainee.py in a process without the package."""

    def run(part: str, **job: Any) -> dict[str, Any]:
        file, output = tmp_path / f"{part}.json", tmp_path / f"{part}-found.json"
        file.write_text(json.dumps({"part": part, "image": str(image), **job}))
        words = [sys.executable, "-S", "-P", str(Path(__file__).with_name("trainee.py")), str(file), str(output)]
        home = tmp_path / part  # two people: nothing that one downloaded is there for the other
        variables = environment(hub_of_all, home, PYTHONPATH=str(packages))
        done = subprocess.run(
            words,
            env=variables,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(output.read_text())

    return run


def check_round_trip(first: dict[str, Any], again: dict[str, Any], sources: list[str]) -> None:
    """Assert that what was saved gives, without the package, the scores that the model had in memory."""
    expected = {tag["label"]: tag["score"] for tag in first["tags"]}
    before = {tag["label"]: tag["score"] for tag in first["before"]}
    assert len(expected) > 2
    assert max(abs(expected[name] - before[name]) for name in expected) > 1e-3  # it was trained indeed
    for source in sources:
        assert again[source]["task"] == TASK
        for kind in ("tags", "named", "stock"):
            found = {tag["label"]: tag["score"] for tag in again[source][kind]}
            assert found == pytest.approx(expected, abs=1e-6), (source, kind)


def test_a_strangers_model_keeps_its_code(
    published: Path,
    hub_of_all: Hub,
    alone: Callable[..., dict[str, Any]],
    tmp_path: Path,
    talk_to: Callable[[Hub], None],
) -> None:
    talk_to(hub_of_all)
    upload(published, "me/colours")
    folder = tmp_path / "trained"
    first = alone("train", source="me/colours", folder=str(folder), repo="me/trained", trainer=False)
    assert first["code"] == {path.name: path.read_text() for path in CODE}
    repo = hub_of_all.repos["me/trained"]
    pushed = repo.commits[repo.refs["main"]]
    assert {name: text.encode() for name, text in first["code"].items()}.items() <= pushed.items()
    for name in ("config.json", "preprocessor_config.json"):
        original, kept = (json.loads((place / name).read_text()) for place in (published, folder))
        assert kept["auto_map"] == original["auto_map"]
        assert kept.get("custom_pipelines") == original.get("custom_pipelines")
        assert json.loads(pushed[name])["auto_map"] == original["auto_map"]
    sources = [str(folder), "me/trained"]
    check_round_trip(first, alone("load", sources=sources), sources)


@pytest.mark.slow
def test_the_trainer_of_transformers_keeps_it_too(
    published: Path, alone: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "trained"
    first = alone("train", source=str(published), folder=str(folder), repo=None, trainer=True)
    sources = [str(folder), str(folder / "checkpoint-2")]
    check_round_trip(first, alone("load", sources=sources), sources)


def test_the_package_keeps_it_too(published: Path, tmp_path: Path, image: Path) -> None:
    """transformers itself takes the package's classes for code that needs not be saved."""
    model = AutoModelForImageClassification.from_pretrained(published)
    assert type(model) is SCTForMultiLabelClassification
    with torch.no_grad():
        model.sct.label_embeddings.mul_(1.1)
    model.save_pretrained(tmp_path / "saved")
    saved = {path.name: path.read_text() for path in (tmp_path / "saved").glob("*.py")}
    assert saved == {path.name: path.read_text() for path in CODE}
    (tmp_path / "saved" / "preprocessor_config.json").write_bytes(
        (published / "preprocessor_config.json").read_bytes()
    )
    tags = pipeline(model=str(tmp_path / "saved"), trust_remote_code=True)(str(image), threshold=0)
    processor = AutoImageProcessor.from_pretrained(published)
    assert tags == model.eval().pipeline(processor)(str(image), threshold=0)


def test_the_pipeline_of_a_model_leaves_it_where_it_is(trained: Path) -> None:
    model = AutoModelForImageClassification.from_pretrained(trained).to("meta")
    processor = AutoImageProcessor.from_pretrained(trained)
    assert model.pipeline(processor).model.device.type == "meta"


def test_a_model_without_code_is_saved_without(trained: Path, tmp_path: Path) -> None:
    AutoModelForImageClassification.from_pretrained(trained).save_pretrained(tmp_path)
    assert not [*tmp_path.glob("*.py")]
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())


# Variants, whose class lies elsewhere


@pytest.fixture
def shifted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run of a subclass, which a file outside the package holds."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "shifted.py").write_text(VARIANT)
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    monkeypatch.delitem(sys.modules, "shifted", raising=False)
    monkeypatch.setattr("sct_hf.peers.registry.MODELS", MODELS.copy())
    importlib.import_module("shifted")
    config, record = (json.loads((folder / name).read_text()) for name in ("config.json", "training_args.json"))
    record["arguments"]["head"] = "sct_shifted"
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "sct_shifted", "shift": 0.75}))
    (folder / "training_args.json").write_text(json.dumps(record))
    return folder


def test_a_variant_travels_with_its_own_file(shifted: Path, published: Path, tmp_path: Path) -> None:
    target = publishable(shifted, tmp_path / "target")
    code = {path.name: path.read_text() for path in target.glob("*.py")}
    names = {path.name for path in CODE}
    assert code.keys() == names | {"shifted.py", "handler.py"}
    assert code["shifted.py"] == TRAVELLING
    assert json.loads((target / "config.json").read_text())["auto_map"] == {
        "AutoConfig": "shifted.ShiftedConfig",
        "AutoModel": "shifted.ShiftedModel",
        "AutoModelForImageClassification": "shifted.ShiftedForMultiLabelClassification",
    }
    assert not (published / "shifted.py").exists()  # only such checkpoints hold it
    AutoModelForImageClassification.from_pretrained(target).save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "shifted.py").read_text() == code["shifted.py"]


@pytest.mark.slow
def test_a_strangers_variant_keeps_its_code(
    shifted: Path, alone: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with prepared(shifted, "me/shifted") as target:  # loads it alone and compares the scores
        first = alone("train", source=str(target), folder=str(tmp_path / "trained"), repo=None, trainer=False)
        assert first["code"].keys() == {path.name for path in CODE} | {"shifted.py"}
    sources = [str(tmp_path / "trained")]
    check_round_trip(first, alone("load", sources=sources), sources)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sct", "sct_known_labels", "sct_label_graph"])
def test_each_model_of_the_package_travels(name: str, alone: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    kind: Any = MODELS[name]
    fields = {field: value for field, value in tiny_config().to_dict().items() if field != "model_type"}
    torch.manual_seed(0)
    model = kind(kind.config_class.from_dict(fields))
    model.config.auto_map = auto_map(model.config)
    model.config.custom_pipelines = custom_pipelines()
    model.save_pretrained(tmp_path / "saved")
    processor = image_processor(model.config)
    processor.auto_map = {"AutoImageProcessor": "image_processing_sct.SCTImageProcessor"}
    processor.save_pretrained(tmp_path / "saved")
    folder = str(tmp_path / "trained")
    first = alone("train", source=str(tmp_path / "saved"), folder=folder, repo=None, trainer=False)
    file = kind.__module__.rpartition(".")[2] + ".py"
    assert first["code"].keys() == {path.name for path in CODE} | {file}
    check_round_trip(first, alone("load", sources=[folder]), [folder])
