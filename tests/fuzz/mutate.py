"""Seeded damage to files: of their bytes, and of the values of a document."""

import json
import random
import re
from copy import deepcopy
from typing import Any

import yaml

Document = Any


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """A copy of a file with one kind of damage."""
    place = rng.randrange(len(data) + 1)
    kinds = [
        lambda: data[:place],
        lambda: data[place:],
        lambda: b"",
        lambda: data[:place] + rng.randbytes(rng.choice([1, 4, 64])) + data[place + rng.choice([0, 1, 64]) :],
        lambda: data[:place] + bytes([data[place - 1] ^ (1 << rng.randrange(8))]) + data[place + 1 :],
        lambda: data[:place] + data[: rng.randrange(len(data) + 1)] + data[place:],
        lambda: data[:place] + b"\0" * rng.choice([1, 16, 4096]) + data[place:],
        lambda: b"\xef\xbb\xbf" + data,
        lambda: data.decode("latin-1").encode("utf-16"),
        lambda: b"PK\x03\x04" + data,
        lambda: data.replace(b"\n", rng.choice([b"\r", b"\r\n", b"\0", b""])),
        lambda: rng.randbytes(len(data)),
    ]
    return rng.choice(kinds)()


ODD_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3.5, -0.5, 10**400, -(10**30), 2**31, 1e308, float("nan"), float("inf")),
    *("", " ", "nan", "null", "0", "../../x", "a\0b", "\ud800", "é" * 300, "x" * 100_000, "1e999", "<b>", "{}"),
    *([], {}, [[]], [None], [True], [1, "a"], {"a": 1}, {"": None}, ["a", "a"], [0.5, 0.5], [1e400] * 3, "resnet"),
]


def damaged_document(document: Document, rng: random.Random) -> Document:
    """A copy of a document with one to three values, keys or levels changed."""
    document = json.loads(json.dumps(document))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        parents = list(_containers(document))
        if not parents:
            return deepcopy(rng.choice(ODD_VALUES))
        _damage(rng.choice(parents), rng)
    return deepcopy(rng.choice(ODD_VALUES)) if rng.random() < 0.02 else document


def _containers(document: Document) -> list[Any]:
    """The lists and dicts in a document that hold anything, itself first; not by recursion, for deep ones."""
    found = [document] if isinstance(document, dict | list) else []
    for value in found:
        found += [child for child in _children(value) if isinstance(child, dict | list)]
    return [value for value in found if value]


def _children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _damage(parent: Any, rng: random.Random) -> None:
    key = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    value = parent[key]
    action = rng.randrange(6)
    if action == 0:
        del parent[key]
    elif action == 1:
        parent[key] = [value] if rng.random() < 0.5 else {"value": value}
    elif action == 2:
        parent[key] = _neighbour(value, rng)
    elif action == 3 and isinstance(parent, dict):
        parent[rng.choice([f"{key}s", f" {key}", key.upper(), "unheard_of"])] = value
    elif action == 3:
        parent.append(value)
    elif action == 4 and rng.random() < 0.1:
        deep: Any = value
        for _ in range(rng.choice([50, 5_000])):
            deep = [deep]
        parent[key] = deep
    else:
        parent[key] = deepcopy(rng.choice(ODD_VALUES))


def _neighbour(value: Any, rng: random.Random) -> Any:
    """A value of the same type that may be out of range."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float) and abs(value) < 1e300:
        return rng.choice([-value, value * 1000, value + 0.5, value - 1, str(value), float(value)])
    if isinstance(value, str):
        return rng.choice(
            [
                value[:-1],
                value * 2,
                value.upper(),
                [*value],
                f" {value} ",
                value.encode("utf-8", "surrogatepass").hex(),
            ]
        )
    if isinstance(value, list):
        return rng.choice(
            [
                value[:1],
                value * 2,
                value[::-1],
                [*value, None],
                dict(zip(map(str, range(len(value))), value, strict=True)),
            ]
        )
    return value


def as_json(document: Document, rng: random.Random) -> bytes:
    """A document as JSON; infinities and lone surrogates as Python writes them; sometimes nested past all limits."""
    if rng.random() < 0.01:
        return b"[" * 100_000
    return _dumped(document).encode("utf-8", "surrogatepass")


def as_yaml(document: Document, rng: random.Random) -> bytes:
    """A document as YAML; sometimes with keys that are no texts, or with anchors."""
    try:
        text = yaml.safe_dump(json.loads(_dumped(document).encode("ascii", "replace")), sort_keys=False)
    except RecursionError:
        return b"[" * 5_000
    extra = ["1: 2\n", "null: x\n", "2024-01-01: x\n", "? [a]\n: b\n", "a: &a [b, b]\nb: *a\n", "\t- x\n", "- x\n"]
    return (text + (rng.choice(extra) if rng.random() < 0.15 else "")).encode()


def _dumped(document: Document) -> str:
    try:
        return json.dumps(document)
    except RecursionError:
        return "[" * 10_000 + "]" * 10_000


ODD_WORDS = [
    *("", " ", "nan", "-1", "1e400", "9" * 400, "../x", "a\0b", "\u200b", "é" * 300, "x" * 200_000, "NaN", "[", '"'),
    *(
        "(a",
        "{'a': 1}",
        '["a"',
        "[[['a']]]",
        "{",
        "None",
        "0 1 0",
        "1|0",
        "\ud800",
        "=1+1",
        "\u202edog",
        "<a>",
        "&#0;",
    ),
]


LONGEST = 20_000_000
"""Characters of a damaged text: several repetitions on end would make hundreds of megabytes."""


def damaged_text(text: str, rng: random.Random) -> str:
    """A copy of a text with one to three of its words or lines changed."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        lines = text.splitlines(keepends=True) or [""]
        at = rng.randrange(len(lines))
        words = re.findall(r"\w+|\W", lines[at]) or [""]
        word = rng.randrange(len(words))
        action = rng.randrange(7)
        if action == 0:
            lines[at] = ""
        elif action == 1:
            lines[at] *= rng.choice([2, 1000])
        elif action == 2:
            lines.insert(at, rng.choice(lines))
        elif action == 3:
            words[word] = ""
        elif action == 4:
            words[word] *= rng.choice([2, 10_000])
        elif action == 5:
            words[word] = rng.choice(words)
        else:
            words[word] = rng.choice(ODD_WORDS)
        if action > 2:
            lines[at] = "".join(words)
        text = "".join(lines)[:LONGEST]
    return text
