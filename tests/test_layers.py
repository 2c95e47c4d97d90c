"""What import-linter cannot see: modules named in strings, and what the model's files import from elsewhere."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sct_hf"
LIBRARIES = {"PIL", "huggingface_hub", "numpy", "timm", "torch", "torchvision", "transformers"}


def layer_of() -> dict[str, int]:
    """The place of each part of the package, 0 at the bottom, from the contract of import-linter."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (contract["layers"] for contract in config["contracts"] if contract["type"] == "layers")
    return {
        name.strip(" ()"): place for place, layer in enumerate(reversed(layers)) for name in re.split("[:|]", layer)
    }


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def modules_named(source: str) -> Iterator[str]:
    """The package's modules that strings of a source name, as importlib and resources take them."""
    for node in ast.walk(ast.parse(source)):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if re.fullmatch(r"sct_hf(\.\w+)+", text) and is_module(text):
            yield text


def upward(name: str, source: str) -> set[tuple[str, str]]:
    """(file, module) for each string of a file that names a module above it, or one beside the model."""
    layers = layer_of()
    here = layers[name.split("/")[1].removesuffix(".py")]
    return {(name, module) for module in modules_named(source) if layers[module.split(".")[1]] > here}


def test_no_string_names_a_module_above() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in layer_of()]
    assert len(files) > 100
    found = [upward(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in files]
    assert set().union(*found) == set()


@pytest.mark.parametrize(
    ("name", "source", "count"),
    [
        ("sct_hf/model/a.py", "importlib.import_module('sct_hf.label_text.words')", 1),
        ("sct_hf/label_text/a.py", "resources.files('sct_hf.data')", 1),
        ("sct_hf/training/a.py", "resources.files('sct_hf.data')", 0),
        ("sct_hf/model/a.py", "print('sct_hf.nothing of this name', 'sct_hf.nowhere')", 0),
    ],
)
def test_strings_that_point_up_are_found(name: str, source: str, count: int) -> None:
    assert len(upward(name, source)) == count


def test_model_files_import_few_libraries_and_each_other() -> None:
    """They are loaded beside a checkpoint, where the package is absent: siblings are named as `.sibling`."""
    for path in (PACKAGE / "model").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, path
                assert (path.parent / f"{node.module}.py").is_file(), path
                continue
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {str(name).split(".")[0] for name in names} <= LIBRARIES | sys.stdlib_module_names, path
