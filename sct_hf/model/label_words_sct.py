"""Names of labels → ordinary words that a text encoder knows."""

import re
import unicodedata

_COMPOUNDS = {  # written as one word in Pascal VOC
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "tvmonitor": "tv monitor",
}
_CAMEL = re.compile(r"(?<=[a-z][a-z])(?=[A-Z])|(?<=[A-Z][A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[_/\s]+|(?<=\w\w)-(?=\w\w)")


def label_words(name: str) -> str:
    """Write the name of a label as lower-case words with single spaces between them.

    Underscores, slashes and hyphens between words become spaces ("t-shirt" keeps its hyphen), camelCase is split
    ("iPhone" is not), and names that Pascal VOC writes as one word are parted: "diningtable" → "dining table" (kin).

    Args:
        name: A label's name, such as "traffic_light", "TrafficLight" or "tvmonitor".

    Returns:
        Its words, such as "traffic light" or "tv monitor".

    Raises:
        ValueError: The name holds no word.
    """
    spaced = _CAMEL.sub(" ", unicodedata.normalize("NFC", name))
    words = _SEPARATORS.sub(" ", spaced).strip().lower()
    if not any(character.isalnum() for character in words):
        raise ValueError(f"label name {name!r} holds no word. Give every label a name in letters or digits.")
    return " ".join(_COMPOUNDS.get(word, word) for word in words.split(" "))


__all__ = ["label_words"]
