"""The author's additions to the card: text and metadata, in which every number must be measured."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import yaml
from huggingface_hub import ModelCard

from sct_hf.errors import InputError
from sct_hf.hub.checks import TrainedRun
from sct_hf.hub.records import is_number
from sct_hf.network import failure_reason

NOTES = "README.md"
BEGIN, END = "<!-- notes of the author -->", "<!-- end of the notes -->"
"""Marks around the author's text in a card made by this package."""

# Numbers that claim nothing: addresses, arXiv ids, dates, versions, years, and the counters of lists.
_NO_CLAIMS = re.compile(
    r"https?://\S+|\]\([^)\]\n]*\)|arxiv[:\s]*\d{4}\.\d{4,5}|\b\d{4}-\d\d-\d\d\b|(?<!\d)\d++(?:\.\d++){2,}"
    r"|^[^\S\n]*+\d++[.)]\s"
    r"|\b(?:19|20)\d\d\b(?!\s*%|[.,]\d)",
    re.IGNORECASE | re.MULTILINE,
)
# Not the digits of a name, such as VOC2007, ResNet-50 or F1.
_NUMBER = re.compile(r"(?<![\w.])(?<![A-Za-z]-)(\d+(?:,\d{3})*)(\.\d+)?(?:e([-+]?\d+))?", re.IGNORECASE)


class Notes(NamedTuple):
    """An author's own part of the card.

    Attributes:
        text: Markdown; empty for none.
        metadata: Fields of the card's header, which override those made from the run.
    """

    text: str
    metadata: dict[str, Any]


def read_notes(run: TrainedRun) -> Notes:
    """Read the README.md that an author put into the folder of a run, if there is one.

    It may be a card made by this package, such as that of a published model. The author's text is then the part
    between its marks, and its metadata count as the author's. Every number must be one that the run measured or was
    given: a fraction or its percentage, rounded as in the text. Digits in names, years, dates, versions and addresses
    are not checked. A model-index is checked and then dropped, since the card has its own.

    Raises:
        InputError: The metadata cannot be read, or a number was not measured.
    """
    path = run.folder / NOTES
    if not path.exists():
        return Notes("", {})
    try:
        card = ModelCard(path.read_text(encoding="utf-8"))
        metadata = card.data.to_dict()
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be used as a card: {failure_reason(error)}") from error
    text = _text_of_author(card.text)
    measured = list(measured_numbers(run))
    values: list[Any] = [*_numbers({name: value for name, value in metadata.items() if name != "widget"})]
    values += [result.metric_value for result in getattr(card.data, "eval_results", None) or []]
    if unfounded := unmeasured("\n".join([text, *map(str, values)]), measured):
        raise InputError(
            f"{path} says {', '.join(unfounded[:5])}, which this run did not measure: remove it, or give the "
            "figures of metrics.json and per_label.csv"
        )
    metadata.pop("model-index", None)
    return Notes(text, metadata)


def _text_of_author(text: str) -> str:
    _, mark, rest = text.partition(BEGIN)
    return (rest.partition(END)[0] if mark else text).strip()


def measured_numbers(run: TrainedRun) -> Iterator[float]:
    """Every number that a run measured or was given."""
    metrics = {name: value for name, value in run.metrics.items() if name != "comparison"}
    yield from _numbers(metrics)
    yield from _numbers(run.per_label.to_dict("list"))
    yield from _numbers(run.evaluation)
    yield from _numbers(run.arguments)
    yield from run.model.config.input_size
    yield len(run.model.config.label_names)


def unmeasured(text: str, measured: Iterable[float]) -> list[str]:
    """Numbers in a text that equal no measured one, rounded to their digits; fractions also as percentages."""
    known = [abs(value) for value in measured]
    known += [100 * value for value in known if value <= 1]
    found = []
    for match in _NUMBER.finditer(_NO_CLAIMS.sub(" ", text)):
        _, decimals, exponent = match.groups()
        number = float(match.group().replace(",", ""))
        power = min(float(exponent or 0), 300) - len((decimals or ".")[1:])
        half = 0.5 * 10.0**power
        if not any(abs(number - value) <= half * (1 + 1e-9) for value in known):
            found.append(match.group())
    return list(dict.fromkeys(found))


def _numbers(content: Any) -> Iterator[float]:
    """The finite numbers in nested dictionaries and lists."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list | tuple):
        for item in content:
            yield from _numbers(item)
    elif is_number(content):
        yield content
