"""Tags in an XMP file, beside what other programs keep there.

Keywords are `dc:subject`, which photo managers read and write (XMP Specification, Part 1, section 8.3). A namespace of
this project's own notes which of them are its own, with scores, model and settings.
"""

import re
from collections.abc import Sequence
from typing import Any
from xml.dom import Node, minidom
from xml.parsers import expat

from sct_hf.errors import InputError

OWN = "urn:sct_hf:xmp:1.0#"
"""The namespace of this project."""

_DC = "http://purl.org/dc/elements/1.1/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_REFUSED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'
    '<?xpacket end="w"?>'
)


def merged(text: bytes | None, tags: Sequence[tuple[str, float]], facts: dict[str, str]) -> bytes:
    """Put tags into an XMP file.

    Keywords that this project wrote before are replaced. All else stays: other keywords, fields and comments. A tag
    that is another program's keyword already stays that program's.

    Args:
        text: The file's content; None if there is none.
        tags: (label, score) each.
        facts: Further text by name, for the own namespace.

    Raises:
        InputError: The content is no XMP, or declares a document type, as no XMP does.
    """
    document = _parsed(_EMPTY.encode() if text is None else text)
    root = _only(document, _RDF, "RDF")
    before = set(_texts(document, OWN, "Keywords"))
    others = [word for word in dict.fromkeys(_texts(document, _DC, "subject")) if word not in before]
    added = [label for label, _ in tags if label not in others]
    for name in ("Labels", "Scores", "Keywords", *facts):
        _remove(document, OWN, name)
    _remove(document, _DC, "subject")
    description = _own_description(document, root)
    if others or added:
        _add_list(document, description, "dc:subject", _DC, "Bag", [*others, *added])
    _add_list(document, description, "sct:Keywords", OWN, "Bag", added)
    _add_list(document, description, "sct:Labels", OWN, "Seq", [label for label, _ in tags])
    _add_list(document, description, "sct:Scores", OWN, "Seq", [f"{score:.4f}" for _, score in tags])
    for name, value in facts.items():
        _add(document, description, f"sct:{name}", OWN).appendChild(document.createTextNode(_allowed(value)))
    return document.toxml(encoding="utf-8")


def own_fact(text: bytes, name: str) -> str | None:
    """A fact that `merged` wrote into a file, or None if it holds none or is no XMP."""
    try:
        found = _parsed(text).getElementsByTagNameNS(OWN, name)
    except InputError:
        return None
    return _text(found[0]) if found else None


def _parsed(text: bytes) -> minidom.Document:
    checked = expat.ParserCreate()

    def refuse(*_: Any) -> None:
        raise InputError("it declares a document type, as no XMP does")

    checked.StartDoctypeDeclHandler = refuse  # so no entity is ever defined, and none expanded
    try:
        checked.Parse(text, True)
        document = minidom.parseString(text)
    except (expat.ExpatError, ValueError) as error:
        raise error if isinstance(error, InputError) else InputError(f"it is no XML ({error})") from error
    _only(document, _RDF, "RDF")
    return document


def _only(document: Any, namespace: str, name: str) -> Any:
    found = document.getElementsByTagNameNS(namespace, name)
    if not found:
        raise InputError(f"it has no {name} of XMP")
    return found[0]


def _texts(document: Any, namespace: str, name: str) -> list[str]:
    """The entries of lists of this name."""
    lists = document.getElementsByTagNameNS(namespace, name)
    return [_text(entry) for each in lists for entry in each.getElementsByTagNameNS(_RDF, "li")]


def _text(element: Any) -> str:
    return "".join(
        node.data for node in element.childNodes if node.nodeType in (Node.TEXT_NODE, Node.CDATA_SECTION_NODE)
    )


def _remove(document: Any, namespace: str, name: str) -> None:
    for element in list(document.getElementsByTagNameNS(namespace, name)):
        element.parentNode.removeChild(element)


def _own_description(document: Any, root: Any) -> Any:
    """The `rdf:Description` that holds the own fields; where there is none, one about what the others are about."""
    all_of_it = [node for node in root.childNodes if getattr(node, "localName", None) == "Description"]
    for element in all_of_it:
        if element.getAttributeNS(_XMLNS, "sct") == OWN:
            return element
    prefix = root.prefix or "rdf"
    made = document.createElementNS(_RDF, f"{prefix}:Description")
    about = all_of_it[0].getAttributeNS(_RDF, "about") if all_of_it else ""
    for name, namespace in (("dc", _DC), ("sct", OWN)):
        made.setAttributeNS(_XMLNS, f"xmlns:{name}", namespace)
    made.setAttributeNS(_RDF, f"{prefix}:about", about)
    return root.appendChild(made)


def _add(document: Any, parent: Any, name: str, namespace: str) -> Any:
    return parent.appendChild(document.createElementNS(namespace, name))


def _add_list(document: Any, parent: Any, name: str, namespace: str, kind: str, texts: Sequence[str]) -> None:
    prefix = parent.prefix
    entries = _add(document, _add(document, parent, name, namespace), f"{prefix}:{kind}", _RDF)
    for text in texts:
        _add(document, entries, f"{prefix}:li", _RDF).appendChild(document.createTextNode(_allowed(text)))


def _allowed(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return _REFUSED.sub("", text)
