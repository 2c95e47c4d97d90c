"""YAML of users: plain values, unique keys, and limits on depth and repeated values."""

from typing import Any, ClassVar

import yaml

MOST_VALUES = 100_000
"""Most values of a text; a value repeated by `*name` counts again."""
DEEPEST = 50
"""Most levels of nested lists and mappings."""
_LONGEST_NUMBER = 100

_Base: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # libyaml's, or the slower one in Python
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NO_JSON = ("timestamp", "binary", "set", "omap", "pairs")
_TAG = "tag:yaml.org,2002:"


class YamlError(ValueError):
    """Text that cannot be read as YAML.

    Attributes:
        line: The line of the error, from 1; None if there is no single one.
    """

    def __init__(self, reason: str, mark: Any = None) -> None:
        super().__init__(reason)
        self.line: int | None = None if mark is None else mark.line + 1


class _Plain(_Safe):
    """Load text, numbers, booleans, null, lists and mappings; dates stay text."""

    yaml_implicit_resolvers: ClassVar = {
        first: [pair for pair in pairs if pair[0] != f"{_TAG}timestamp"]
        for first, pairs in _Safe.yaml_implicit_resolvers.items()
    }
    yaml_constructors: ClassVar = {
        tag: made for tag, made in _Safe.yaml_constructors.items() if tag not in {_TAG + kind for kind in _NO_JSON}
    }


def parse_yaml(text: str, *, as_text: bool = False) -> Any:
    """Read one YAML document.

    Args:
        text: The document.
        as_text: Keep every scalar as written: NO is not a boolean, and 1 not a number.

    Returns:
        None for a text without any value; else a string, number, boolean, list or dict, as in JSON.

    Raises:
        YamlError: The text is not YAML, has tags of other types, a repeated key, a key that is a list or mapping, a
            value that contains itself, more than `DEEPEST` levels, or more than `MOST_VALUES` values.
    """
    try:
        loader = (_Base if as_text else _Plain)(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node, {}, 0)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise YamlError(str(getattr(error, "problem", None) or error), getattr(error, "problem_mark", None)) from error
    except RecursionError as error:
        raise YamlError("its values are nested too deeply") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"a value is not of the type that it is marked as ({error})") from error  # such as !!int dog


def _check(node: Any, sizes: dict[int, int], depth: int) -> int:
    """Check a node, and return the number of values in it, itself included."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise YamlError("a value holds itself", node.start_mark)
        return sizes[id(node)]
    if depth > DEEPEST:
        raise YamlError(f"its values are nested more than {DEEPEST} deep", node.start_mark)
    sizes[id(node)] = 0
    size = 1
    if isinstance(node, yaml.MappingNode):
        seen = set[tuple[str, str]]()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError("a key is no text, but a list or a mapping", key.start_mark)
            if (key.tag, key.value) in seen:
                raise YamlError(f"key {key.value[:60]!r} stands twice", key.start_mark)
            seen.add((key.tag, key.value))
            size += _check(key, sizes, depth + 1) + _check(value, sizes, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_check(value, sizes, depth + 1) for value in node.value)
    elif node.tag in (f"{_TAG}int", f"{_TAG}float") and len(node.value) > _LONGEST_NUMBER:
        raise YamlError(f"a number has {len(node.value)} digits", node.start_mark)
    if size > MOST_VALUES:
        raise YamlError(
            f"it holds more than {MOST_VALUES} values, those counted again that are repeated by *", node.start_mark
        )
    sizes[id(node)] = size
    return size
