"""Tags in an XMP file, beside what other programs keep there.

Keywords are `dc:subject`, which photo managers read and write (XMP Specification, Part 1, section 8.3). A namespace of
this project's own notes which of them are its own, with scores, model and settings.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
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
_MARKS = {"\n": "\x01", "\r": "\x02", "\t": "\x03"}  # what stands for them: no XML holds these
_DEEPEST = 100
_NO_LIST = "its dc:subject is no list of keywords"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'
    '<?xpacket end="w"?>'
)


def merged(
    text: bytes | None,
    tags: Sequence[tuple[str, float]],
    facts: dict[str, str],
    words: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Put tags into an XMP file.

    Keywords that this project wrote before are replaced, and its own namespace. All else stays: other keywords, fields
    and comments. A tag that is another program's keyword already stays that program's.

    Args:
        text: The file's content; None if there is none.
        tags: (label, score) each.
        facts: Further text by name, for the own namespace.
        words: Keywords for labels that are no words; other labels are their own keywords.

    Raises:
        InputError: The content is no XMP, declares a document type or is nested deep, as no XMP does, or its keywords
            are no list.
    """
    document = _parsed(_EMPTY.encode() if text is None else text)
    root, descriptions = _descriptions(document)
    about = next((each.getAttributeNS(_RDF, "about") or each.getAttribute("about") for each in descriptions), "")
    scores = {_allowed(label): f"{score:.4f}" for label, score in tags}
    lists = _others_keywords(descriptions)
    others = {_word(entry) for entry in _children(lists, _RDF, "li")}
    keywords = dict.fromkeys(_allowed(words.get(label, label)) for label, _ in tags)
    added = [word for word in keywords if word not in others]
    if added and not lists:
        lists = [_add_list(_describe(document, root, about, "dc", _DC), "dc:subject", _DC, "Bag", ())]
    if added:
        _fill(lists[0], added)
    for each in (*lists, *(each.parentNode for each in lists)):
        _remove_empty(each)
    for each in descriptions:
        _remove_own(each)
        _remove_empty(each)
    own = _describe(document, root, about, "sct", OWN)
    _add_list(own, "sct:Keywords", OWN, "Bag", added)
    _add_list(own, "sct:Labels", OWN, "Seq", scores)
    _add_list(own, "sct:Scores", OWN, "Seq", scores.values())
    for name, value in facts.items():
        _add(own, f"sct:{name}", OWN, value)
    content = _written(document)
    _parsed(content)  # nothing is written that a later run could not read
    return content


def own_fact(text: bytes, name: str) -> str | None:
    """A fact that `merged` wrote into a file, or None if it holds none or is no XMP."""
    try:
        _, descriptions = _descriptions(_parsed(text))
    except InputError:
        return None
    for each in descriptions:
        if each.hasAttributeNS(OWN, name):
            return str(each.getAttributeNS(OWN, name))
    found = _children(descriptions, OWN, name)
    return _text(found[0]) if found else None


def _parsed(text: bytes) -> minidom.Document:
    checked = expat.ParserCreate()
    depth = 0

    def refuse(*_: Any) -> None:
        raise InputError("it declares a document type, as no XMP does")

    def enter(*_: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise InputError(f"it is nested more than {_DEEPEST} deep, as no XMP is")

    def leave(_: str) -> None:
        nonlocal depth
        depth -= 1

    checked.StartDoctypeDeclHandler = refuse  # so no entity is ever defined, and none expanded
    checked.StartElementHandler, checked.EndElementHandler = enter, leave
    try:
        checked.Parse(text, True)
        document = minidom.parseString(text)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise error if isinstance(error, InputError) else InputError(f"it is no XML ({error})") from error
    _descriptions(document)
    return document


def _descriptions(document: Any) -> tuple[Any, list[Any]]:
    """The element `rdf:RDF` and what it holds: the properties are in one or several `rdf:Description`."""
    found = document.getElementsByTagNameNS(_RDF, "RDF")
    if not found:
        raise InputError("it has no RDF of XMP")
    return found[0], _children([found[0]], _RDF, "Description")


def _elements(parent: Any) -> list[Any]:
    return [node for node in parent.childNodes if node.nodeType == Node.ELEMENT_NODE]


def _children(parents: list[Any], namespace: str, name: str) -> list[Any]:
    """Child elements of this name: properties of descriptions, or entries of lists."""
    inside = [element for each in parents for element in _elements(each)]
    return [element for element in inside if (element.namespaceURI, element.localName) == (namespace, name)]


def _others_keywords(descriptions: list[Any]) -> list[Any]:
    """The lists of keywords, where they stand, once the own keywords are taken out."""
    if any(each.hasAttributeNS(_DC, "subject") for each in descriptions):
        raise InputError(_NO_LIST)
    for subject in _children(descriptions, _DC, "subject"):
        _remove_empty(subject)
    lists = [_list_of(subject) for subject in _children(descriptions, _DC, "subject")]
    kept = _children(descriptions, OWN, "Keywords")
    before = {_word(entry) for each in kept for entry in each.getElementsByTagNameNS(_RDF, "li")}
    for entry in _children(lists, _RDF, "li"):
        word = _word(entry)
        if word in before and not entry.hasAttributes() and not _elements(entry):
            before.remove(word)  # the same word once more is another program's
            entry.parentNode.removeChild(entry)
    return lists


def _list_of(subject: Any) -> Any:
    """The list that a property holds."""
    held = _elements(subject)
    if len(held) != 1 or held[0].namespaceURI != _RDF or held[0].localName not in ("Bag", "Seq", "Alt"):
        raise InputError(_NO_LIST)
    return held[0]


def _word(entry: Any) -> str:
    """An entry's text; one with qualifiers has it in `rdf:value`."""
    values = entry.getElementsByTagNameNS(_RDF, "value")
    return entry.getAttributeNS(_RDF, "value") or _text(values[0] if values else entry)


def _text(element: Any) -> str:
    return "".join(
        node.data for node in element.childNodes if node.nodeType in (Node.TEXT_NODE, Node.CDATA_SECTION_NODE)
    )


def _remove_own(description: Any) -> None:
    for attribute in list(description.attributes.values()):
        if attribute.namespaceURI == OWN:
            description.removeAttributeNode(attribute)
    for element in _elements(description):
        if element.namespaceURI == OWN:
            description.removeChild(element)


def _remove_empty(element: Any) -> None:
    """Remove an element without text, children and attributes, but for those that hold no data."""
    blank = all(node.nodeType == Node.TEXT_NODE and not node.data.strip() for node in element.childNodes)
    if blank and all(each.namespaceURI == _XMLNS or each.localName == "about" for each in element.attributes.values()):
        element.parentNode.removeChild(element)


def _describe(document: Any, root: Any, about: str, prefix: str, namespace: str) -> Any:
    """A new `rdf:Description`. It declares its prefixes, since other programs move or rename those around it."""
    made = document.createElementNS(_RDF, "rdf:Description")
    for name, declared in (("rdf", _RDF), (prefix, namespace)):
        made.setAttributeNS(_XMLNS, f"xmlns:{name}", declared)
    made.setAttributeNS(_RDF, "rdf:about", about)
    return root.appendChild(made)


def _add(parent: Any, name: str, namespace: str, text: str = "") -> Any:
    made = parent.appendChild(parent.ownerDocument.createElementNS(namespace, name))
    if text:
        made.appendChild(parent.ownerDocument.createTextNode(_allowed(text)))
    return made


def _add_list(parent: Any, name: str, namespace: str, kind: str, texts: Iterable[str]) -> Any:
    entries = _add(_add(parent, name, namespace), f"rdf:{kind}", _RDF)
    _fill(entries, texts)
    return entries


def _fill(entries: Any, texts: Iterable[str]) -> None:
    """Append texts to a list, with its own prefix, which is declared where it stands."""
    for text in texts:
        _add(entries, f"{entries.prefix}:li" if entries.prefix else "li", _RDF, text)


def _allowed(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return _REFUSED.sub("", text)


def _written(document: Any) -> bytes:
    """The document's bytes. Python 3.11 writes line ends and tabs as they are, which readers then turn into others."""
    nodes = [document]
    for node in nodes:
        nodes += node.childNodes
        if node.nodeType == Node.TEXT_NODE:
            node.data = node.data.replace("\r", _MARKS["\r"])
        for attribute in node.attributes.values() if node.attributes else ():
            attribute.value = attribute.value.translate(str.maketrans(_MARKS))
    text = document.toxml(encoding="utf-8")
    for character, mark in _MARKS.items():
        text = text.replace(mark.encode(), b"&#%d;" % ord(character))
    return bytes(text)
