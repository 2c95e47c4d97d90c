"""Command lines of training, from values by name."""

from collections.abc import Mapping
from typing import Any

from sct_hf.options import options_of
from sct_hf.training.arguments import option_words, training_options
from sct_hf.training.model_settings import config_fields
from sct_hf.training.parsing import RecipeArguments


def with_defaults(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Values over defaults, but for those fields of the configuration that the heads in question have not."""
    heads = [values.get("head", "sct"), values.get("compare_head", "none")]
    usable = {*options_of(*training_options()), *config_fields(*(head for head in heads if head != "none"))}
    return {name: value for name, value in defaults.items() if name in usable} | dict(values)


def command_words(values: Mapping[str, Any], *kinds: type) -> list[str]:
    """Options of training and of `kinds` as such; all else as fields of the model's configuration."""
    options = options_of(RecipeArguments, *kinds, *training_options())
    values = {"mixed_precision": "no"} | dict(values)  # the same on any CPU
    words = [word for name, value in values.items() if name in options for word in option_words(name, value)]
    fields = {name: value for name, value in values.items() if name not in options}
    return words + (option_words("set", fields) if fields else [])
