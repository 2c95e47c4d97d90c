"""`--set field=value`: read and check fields of a head's configuration that have no own option."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from sct_hf.data.names import shown
from sct_hf.errors import InputError
from sct_hf.factory import config_class
from sct_hf.peers.modeling_peer import PeerConfig
from sct_hf.peers.registry import MODELS, make_head
from sct_hf.yaml_text import YamlError, parse_yaml

_PEER_WIDTHS = (64, 2, 64)
"""Widths of features, labels and text of the peer head that arguments are tried on; it has no weights."""


def config_fields(*heads: str) -> list[str]:
    """Names of the configuration's fields that a user may set for these heads; labels set the others."""
    of_transformers = {one.name for one in fields(PreTrainedConfig)}
    return list(
        dict.fromkeys(
            one.name
            for head in heads
            for one in fields(config_class(head))
            if one.name not in of_transformers and not {"labels", "made"} & one.metadata.keys()
        )
    )


def retired_fields(*heads: str) -> dict[str, str]:
    """Remedy for each field of earlier versions, by name."""
    found: dict[str, str] = {}
    for head in heads:
        retired: Mapping[str, tuple[Any, str]] = getattr(config_class(head), "retired_fields", {})
        found |= {name: remedy for name, (_, remedy) in retired.items()}
    return found


def read_setting(word: str) -> tuple[str, Any]:
    """Read "field=value". The value is JSON, else YAML, so a plain word is a string.

    Raises:
        InputError: `word` is not a name, "=" and a value.
    """
    name, equals, text = word.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"{shown(word)} is not a setting: write field=value")
    try:
        return name, json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return name, parse_yaml(text)
    except YamlError:
        return name, text


def setting_word(name: str, value: Any) -> str:
    """`name` and `value` as a word that `read_setting` reads back."""
    plain = f"{name}={value}"
    if isinstance(value, str) and read_setting(plain) == (name, value):
        return plain
    return f"{name}={json.dumps(value, ensure_ascii=False)}"


def check_settings(settings: Mapping[str, Any], heads: Iterable[str], options: Iterable[str]) -> None:
    """Refuse settings that no head has, or that have an own option.

    Args:
        settings: Values by field.
        heads: Names of the heads to train.
        options: Names of the fields with an own option.

    Raises:
        InputError: Such a setting, with the nearest names or the replacement.
    """
    heads, options = list(heads), set(options)
    known, retired = [name for name in config_fields(*heads) if name not in options], retired_fields(*heads)
    for name, value in settings.items():
        if name in options:
            raise InputError(f"set has {setting_word(name, value)}, which is an option: give --{name}")
        if name in retired:
            raise InputError(f"set has {setting_word(name, value)}, a field of earlier versions: {retired[name]}")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            remedy = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known)}"
            raise InputError(
                f"set has {setting_word(name, value)}, but {name} is no field of head {' or '.join(heads)}; {remedy}"
            )


def check_configuration(head: str, values: Mapping[str, Any]) -> None:
    """Try values on the configuration of `head` before anything is loaded; peer heads are built without weights.

    Raises:
        InputError: A value has a wrong type or is out of range.
    """
    try:
        if head in MODELS:
            config_class(head)(**values)
        else:
            PeerConfig(head=head, **values)
            with torch.device("meta"):
                make_head(head, *_PEER_WIDTHS, values.get("head_kwargs"))
    except (StrictDataclassError, ValueError, TypeError) as error:
        reason = " ".join(str(error.__cause__ or error).split()) if isinstance(error, StrictDataclassError) else error
        raise InputError(f"the settings of head {head} cannot be used: {reason}") from error
