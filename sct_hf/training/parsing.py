"""The command line of a training run, and the recipes below it."""

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser

from sct_hf.errors import InputError
from sct_hf.training.arguments import Arguments, DataArguments, ModelArguments, TrainArguments

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = "scenes"


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def _parser(*kinds: Any, add_help: bool = True) -> _Parser:
    return _Parser(kinds, allow_abbrev=False, add_help=add_help)


def parse_into(argv: Sequence[str] | None, *kinds: type) -> tuple[Any, ...]:
    """Parse a command line into one object of each of the dataclasses `kinds`.

    Args:
        argv: The arguments; those of the process if None.
        kinds: Dataclasses as `HfArgumentParser` takes them.

    Raises:
        InputError: An unknown option (named with the nearest ones), or a value that does not fit.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(*kinds)
    unknown = parser.parse_known_args(arguments)[1]
    if unknown:
        name = unknown[0].lstrip("-").split("=")[0].replace("-", "_")
        raise InputError(f"{unknown[0]} is no option{_nearest(name, _names(*kinds))}")
    return tuple(parser.parse_args_into_dataclasses(arguments, look_for_args_file=False))


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Parse the command line of training, on top of the recipe it names.

    `--recipe` takes the name of a recipe in `sct_hf/training/recipes` or a YAML file; what the command line says
    wins over it. A command line with neither `--recipe` nor `--dataset` uses the recipe `scenes`.

    Args:
        argv: The arguments; those of the process if None.

    Raises:
        InputError: An unknown recipe, key or option (named with the nearest ones), or a value that does not fit.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    unsaid = not any(word.split("=")[0] == "--dataset" for word in arguments)
    values = parse_with_recipe(
        arguments, DataArguments, ModelArguments, TrainArguments, default=DEFAULT_RECIPE if unsaid else None
    )
    return Arguments(*values)


def parse_with_recipe(argv: Sequence[str] | None, *kinds: type, default: str | None) -> tuple[Any, ...]:
    """Parse a command line into one object of each of `kinds`, on top of the recipe it names.

    Args:
        argv: The arguments; those of the process if None.
        kinds: Dataclasses as `HfArgumentParser` takes them.
        default: Recipe of a command line that names none.

    Raises:
        InputError: As `parse`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    recipe = _parser(RecipeArguments, add_help=False).parse_known_args(arguments)[0].recipe or default
    defaults = [] if recipe is None else _recipe_words(recipe, _names(*kinds))
    return parse_into([*defaults, *arguments], RecipeArguments, *kinds)[1:]


def options_said(argv: Sequence[str]) -> set[str]:
    """Names of the options on a command line, without those of its recipe."""
    return {word[2:].split("=")[0].replace("-", "_") for word in argv if word.startswith("--")}


@dataclass
class RecipeArguments:
    """Where defaults come from."""

    recipe: str | None = field(
        default=None, metadata={"help": "Recipe by name, or a YAML file; train.py without --dataset takes scenes."}
    )


def _recipe_words(recipe: str, known: Sequence[str]) -> list[str]:
    """The recipe as words of a command line, so that both pass through the same checks."""
    names = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    path = RECIPES / f"{recipe}.yaml" if recipe in names else Path(recipe)
    if not path.is_file():
        raise InputError(f"recipe is {recipe!r}: give a YAML file or one of {', '.join(names)}")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise InputError(f"recipe {path} is not YAML: {error}") from error
    if not isinstance(settings, dict):
        raise InputError(f"recipe {path} holds {type(settings).__name__}: write one `option: value` a line")
    words = []
    for name, value in settings.items():
        if name not in known:
            raise InputError(f"recipe {path} has {name!r}, which is no option{_nearest(str(name), known)}")
        if isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        elif isinstance(value, dict):
            words.append(f"--{name}={json.dumps(value)}")
        elif value is not None:
            words.append(f"--{name}={value}")
    return words


def _names(*kinds: type) -> list[str]:
    return [option.name for kind in kinds for option in fields(kind)]


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else "; see --help"
