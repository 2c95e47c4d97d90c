"""An extension of griffe: the types of transformers' docstrings, "(`int`, *optional*)", as plain text."""

import re
from typing import Any

from griffe import Extension, Object

_TYPE = re.compile(r"^(\s+\**\w+ \()(.*?)(\):)", re.MULTILINE)


class PlainTypes(Extension):
    """Takes the marks out of types, which mkdocstrings shows as code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _TYPE.sub(_plain, obj.docstring.value)


def _plain(found: re.Match[str]) -> str:
    before, kind, after = found.groups()
    return before + re.sub(r"[`*]", "", kind) + after
