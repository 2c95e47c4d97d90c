"""The command line of training, and its recipes."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from sct_hf.data.names import shown
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_yaml
from sct_hf.errors import InputError
from sct_hf.options import choices_of, did_you_mean, option, options_of
from sct_hf.peers.registry import head_names
from sct_hf.training.arguments import Arguments, option_words, training_options
from sct_hf.training.model_settings import config_fields, read_setting, retired_fields, setting_word
from sct_hf.training.option_parser import First, OptionParser

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = "scenes"
_SETTINGS = "set"


@dataclass
class RecipeArguments:
    """The recipe with the defaults of other options."""

    recipe: str | None = option(
        None,
        "Recipe by name, or a YAML file of `option: value` lines; the command line overrides it.",
        group="recipe",
        unset=f"small for own images on a CPU, {DEFAULT_RECIPE} without images and --dataset, else none",
    )


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Parse the command line of training, on top of the recipe it names.

    `--recipe` takes the name of a recipe in `sct_hf/training/recipes` or a YAML file; the command line overrides it. A
    command line with neither `--recipe` nor `--dataset` uses the recipe `scenes`.

    Args:
        argv: The arguments; those of the process if None.

    Raises:
        InputError: An unknown recipe, key or option (named with the nearest ones), or a value that does not fit.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    without_data = "dataset" not in options_on_command_line(arguments)
    return parse_with_training(arguments, default=DEFAULT_RECIPE if without_data else None)[0]


def parse_with_training(argv: Sequence[str] | None, *kinds: type, default: str | None) -> tuple[Any, ...]:
    """Parse a command line with the options of training and further ones, on top of the recipe it names.

    Args:
        argv: The arguments; those of the process if None.
        kinds: Dataclasses of the command's own options.
        default: Recipe if the command line names none.

    Returns:
        An object of each of `kinds`, and the `Arguments` of training.

    Raises:
        InputError: As for `parse`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    every = (RecipeArguments, *kinds, *training_options())
    recipe = OptionParser([RecipeArguments], add_help=False).parse_known_args(arguments)[0].recipe or default
    told = {} if recipe is None else _read_recipe(recipe, every)
    words = [word for name, value in told.items() if name != _SETTINGS for word in option_words(name, value)]
    if _SETTINGS in told:
        heads = OptionParser(every, add_help=False).parse_known_args([*words, *arguments])[0]
        settings = _of_heads(told[_SETTINGS], heads.head, heads.compare_head)
        words += option_words(_SETTINGS, settings) if settings else []
    values = parse_into([*words, *arguments], *every)[1:]
    return (*values[: len(kinds)], Arguments.of(values[len(kinds) :]))


def parse_into(argv: Sequence[str] | None, *kinds: type) -> tuple[Any, ...]:
    """Parse a command line into one object of each of the dataclasses `kinds`.

    Args:
        argv: The arguments; those of the process if None.
        kinds: Dataclasses of options.

    Raises:
        InputError: An unknown option (named with the nearest ones), or a value that does not fit.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = parser_of(*kinds)
    unknown = parser.parse_known_args(arguments)[1]
    if unknown:
        word, equals, value = unknown[0].partition("=")
        if not equals and len(unknown) > 1 and not unknown[1].startswith("--"):
            value = unknown[1]
        name = word.lstrip("-").replace("-", "_")
        raise InputError(f"{unknown[0]} is no option{_remedy(name, value, kinds)}")
    return tuple(parser.parse_args_into_dataclasses(arguments, look_for_args_file=False))


def parser_of(*kinds: type, prog: str | None = None, first: First = None) -> OptionParser:
    """The parser of a command whose options are those of the dataclasses `kinds`.

    Args:
        kinds: Dataclasses of options.
        prog: The command.
        first: Adds arguments that help shows first.
    """
    return OptionParser(kinds, first, prog=prog, usage="%(prog)s [--option value ...]", epilog=_epilog(kinds))


def training_parser(*kinds: type, prog: str, first: First = None) -> OptionParser:
    """The parser of a command that takes the options of training beside its own, `kinds`; see `parser_of`."""
    return parser_of(RecipeArguments, *kinds, *training_options(), prog=prog, first=first)


def options_on_command_line(argv: Sequence[str]) -> set[str]:
    """Names of the options and of the `--set` fields on a command line, without those of its recipe."""
    on_command_line, last = set[str](), ""
    for word in argv:
        if word.startswith("--"):
            name, _, word = word[2:].partition("=")
            last = name.replace("-", "_")
            on_command_line.add(last)
        if last == _SETTINGS and "=" in word:
            on_command_line.add(word.partition("=")[0])
    return on_command_line


def _epilog(kinds: Sequence[type]) -> str:
    text = "A switch takes true or false; --no_NAME is short for --NAME false where true is the default."
    options = options_of(*kinds)
    if _SETTINGS not in options:
        return text
    fields = {head: [name for name in config_fields(head) if name not in options] for head in head_names()}
    heads: dict[str, list[str]] = {}
    for head, names in fields.items():
        heads.setdefault(", ".join(names), []).append(head)
    listed = "; ".join(f"of {', '.join(of)}: {names}" for names, of in heads.items())
    return f"{text} Fields of --{_SETTINGS} {listed}."


def _read_recipe(recipe: str, kinds: Sequence[type]) -> dict[str, Any]:
    """The options of a recipe; values are checked like words of a command line."""
    names = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    path = RECIPES / f"{recipe}.yaml" if recipe in names else Path(recipe)
    if not os.path.isfile(path):
        raise InputError(f"recipe is {recipe!r}: give a YAML file or one of {', '.join(names)}")
    problems = Problems()
    told = read_yaml(path, problems)
    problems.raise_if_any()
    told = {} if told is None else told
    if not isinstance(told, dict):
        raise InputError(f"recipe {path} holds {type(told).__name__}: write one `option: value` a line")
    known = options_of(*kinds)
    for name, value in told.items():
        if name not in known:
            remedy = _remedy(str(name), value, kinds, in_recipe=True)
            raise InputError(f"recipe {path} has {shown(name)}, which is no option{remedy}")
    settings = told.get(_SETTINGS)
    if not isinstance(settings, Mapping | None):
        raise InputError(f"recipe {path} has {_SETTINGS}: {shown(settings)}; write `field: value` lines below it")
    if settings:
        told[_SETTINGS] = {str(name): _read(str(name), value) for name, value in settings.items()}
    return {name: value for name, value in told.items() if value is not None}


def _of_heads(settings: Mapping[str, Any], head: str, compare_head: str) -> dict[str, Any]:
    """A recipe's settings without those that only other heads have."""
    heads = [one for one in (head, compare_head) if one in head_names()]
    own, every = config_fields(*heads), config_fields(*head_names())
    return {name: value for name, value in settings.items() if name in own or name not in every}


def _read(name: str, value: Any) -> Any:
    """A value as `--set` reads it; YAML would read 1e-3 as text."""
    return read_setting(f"{name}={value}")[1] if isinstance(value, str) else value


def _remedy(name: str, value: Any, kinds: Sequence[type], *, in_recipe: bool = False) -> str:
    """The replacement of an unknown option: a setting, a choice of another option, or the nearest names."""
    options = options_of(*kinds)
    written = {option: option if in_recipe else f"--{option}" for option in options}
    if _SETTINGS in options:
        fields, retired = config_fields(*head_names()), retired_fields(*head_names())
        for key, switch in ((name, "true"), (name.removeprefix("no_"), "false")):
            if key in fields:
                word = setting_word(key, _read(key, switch if value == "" else value))
                return f": give --{_SETTINGS} {shlex.quote(word)}, or write it below `{_SETTINGS}:` in a recipe"
            if key in retired:
                return f": {retired[key]}"
        written = {field: f"{'' if in_recipe else f'--{_SETTINGS} '}{field}" for field in fields} | written
    hints = {key: value for kind in kinds for key, value in get_type_hints(kind).items()}
    positive = name.removeprefix("no_")
    for other in options:
        if positive in choices_of(hints[other]):
            choices = ", ".join(map(str, choices_of(hints[other])))
            return f": it is a choice of --{other}; give there all that you want of {choices}"
    return did_you_mean(name, written)
