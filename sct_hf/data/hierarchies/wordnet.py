"""Hierarchies of labels from WordNet, with the library wn."""

from collections.abc import Iterable, Sequence
from typing import Any

from sct_hf.errors import InputError
from sct_hf.model.vocabulary_sct import label_words


def wordnet_hierarchy(label_names: Sequence[str], lexicon: str | None = None) -> dict[str, list[str]]:
    """Arrange labels under their names' hypernyms in WordNet.

    A label is taken as the first noun sense of its words, the most frequent one, which may be wrong ("mouse" is the
    animal). Write the result with `write_hierarchy` to check and correct it. A hypernym becomes a parent if it is a
    label itself, or if it covers at least two labels but not all. Of hypernyms that cover the same labels, the most
    specific is used.

    Args:
        label_names: The labels.
        lexicon: An installed lexicon, such as `oewn:2024`; by default the first English one. The library keeps them in
            `~/.wn_data`, or `$WN_DATA_DIR`.

    Returns:
        {name: its parents}. A label has none if WordNet lacks it or its hypernyms.

    Raises:
        InputError: The library or a lexicon is missing, or no label would get a parent.
    """
    wordnet = _open(lexicon)
    sense: dict[str, Any] = {}
    for name in label_names:
        if nouns := wordnet.synsets(label_words(name), pos="n"):
            sense[name] = nouns[0]
    above = {synset: set(_hypernyms(synset)) for synset in sense.values()}
    labelled = dict(reversed([(synset, name) for name, synset in sense.items()]))  # the first name of a sense
    below: dict[Any, set[str]] = {}
    for name, synset in sense.items():
        for over in (synset, *above[synset]):
            below.setdefault(over, set()).add(name)
    kept = dict(labelled)
    for synset in _most_special(below, labelled):
        if 1 < len(below[synset]) < len(sense):
            kept[synset] = _new_name(synset, {*label_names, *kept.values()})
            above[synset] = set(_hypernyms(synset))
    added = {kept[synset]: synset for synset in kept if synset not in labelled}
    parents: dict[str, list[str]] = {}
    for name, synset in (sense | added).items():
        over = above[synset] & kept.keys()
        nearest = [up for up in over if not any(up in above[other] for other in over)]
        if nearest:
            parents[name] = sorted(kept[up] for up in nearest)
    if not parents:
        raise InputError(
            f"hierarchy is wordnet, but WordNet knows nothing common to the labels {', '.join(label_names[:8])}: give "
            "a CSV file of child,parent rows"
        )
    return parents


def _open(lexicon: str | None) -> Any:
    try:
        import wn
    except ModuleNotFoundError as error:
        raise InputError('hierarchy is wordnet, which needs wn: pip install "sct_hf[wordnet]"') from error
    found = None
    try:
        found = lexicon or next((known.specifier() for known in wn.lexicons(lang="en")), None)
        if found:
            return wn.Wordnet(found)
    except wn.Error:
        pass
    there = ", ".join(known.specifier() for known in wn.lexicons()) or "none"
    raise InputError(
        f"hierarchy is wordnet, but there is no lexicon {lexicon or 'of English'} in {wn.config.data_directory} "
        f"(found: {there}): get one by `python -m wn download oewn:2024`, or name a folder that has one by "
        "$WN_DATA_DIR"
    )


def _hypernyms(synset: Any) -> Iterable[Any]:
    """Every synset above."""
    return synset.closure("hypernym", "instance_hypernym")


def _most_special(below: dict[Any, set[str]], labelled: dict[Any, str]) -> list[Any]:
    """The deepest of the synsets that cover the same labels; None if a label's own is among them."""
    groups: dict[frozenset[str], list[Any]] = {}
    for synset, names in below.items():
        groups.setdefault(frozenset(names), []).append(synset)
    return [
        max(group, key=lambda synset: (synset.min_depth(), synset.id))
        for group in groups.values()
        if not any(synset in labelled for synset in group)
    ]


def _new_name(synset: Any, taken: set[str]) -> str:
    """The first lemma of a synset that is not the name of another label, else its identifier."""
    words = {label_words(name) for name in taken}
    return next((lemma for lemma in synset.lemmas() if label_words(lemma) not in words), synset.id)
