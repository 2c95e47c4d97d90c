"""An argument parser for dataclasses of options: titled groups, and defaults in words."""

import argparse
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import Field
from types import MappingProxyType
from typing import Any, NoReturn, get_origin

from transformers import HfArgumentParser

from sct_hf.errors import InputError
from sct_hf.options import choices_of, default_of, facts_of
from sct_hf.training.model_settings import read_setting

First = Callable[[argparse.ArgumentParser], None] | None


class OptionParser(HfArgumentParser):
    """`HfArgumentParser` for fields made by `sct_hf.options.option`.

    Args:
        kinds: Dataclasses of options.
        first: Adds arguments that help shows before those options; None for none.
        **kwargs: Arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, kinds: Sequence[Any], first: First = None, **kwargs: Any) -> None:
        self._groups: dict[str, Any] = {}
        super().__init__([], allow_abbrev=False, formatter_class=_Formatter, **kwargs)
        if first is not None:
            first(self)
        self.dataclass_types = list(kinds)
        for kind in kinds:
            self._add_dataclass_arguments(kind)

    def error(self, message: str) -> NoReturn:
        """Raise `InputError`; argparse would end the process."""
        raise InputError(f"{message}; see --help")

    def _parse_dataclass_field(self, parser: Any, field: "Field[Any]") -> None:  # type: ignore[override]
        facts = facts_of(field)
        if facts.group not in self._groups:
            self._groups[facts.group] = self.add_argument_group(facts.group)
        group = self._groups[facts.group]
        words = f"{facts.help} (default: {_default_in_words(default_of(field), facts.unset)})".replace("%", "%%")
        names = dict.fromkeys((f"--{field.name}", f"--{field.name.replace('_', '-')}"))
        kind: Any = field.type
        if get_origin(kind) is dict:
            group.add_argument(
                *names, nargs="+", action=_Merge, type=_setting, default={}, metavar="FIELD=VALUE", help=words
            )
        elif get_origin(kind) is list and choices_of(kind):
            group.add_argument(*names, nargs="+", choices=choices_of(kind), default=default_of(field), help=words)
        else:
            known = len(group._group_actions)
            plain = copy(field)
            plain.metadata = MappingProxyType({"help": words})
            super()._parse_dataclass_field(group, plain)
            for action in group._group_actions[known:]:
                if action.const is False:  # --no_NAME, the short form of --NAME false
                    action.help = argparse.SUPPRESS
                elif action.const is True or kind == bool | None:
                    action.metavar = "true|false"


def _setting(word: str) -> tuple[str, Any]:
    try:
        return read_setting(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class _Merge(argparse.Action):
    """Add settings to earlier ones; the last value of a field wins."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), **dict(values)})


class _Formatter(argparse.HelpFormatter):
    """Show one spelling per option; argparse would show `--data_dir DATA_DIR, --data-dir DATA_DIR`."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        values = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{action.option_strings[0]} {values}"


def _default_in_words(value: Any, unset: str | None) -> str:
    if value is None:
        return str(unset)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return " ".join(map(str, value)) or "none"
    return f"{value}" or "none"
