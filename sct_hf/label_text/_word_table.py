"""Write imagenet_words.tsv: ImageNet's 1,000 classes, all that they are kinds of, and the words for them.

`python -m sct_hf.label_text._word_table FOLDER` reads the noun files of WordNet 3.0 (data.noun, index.noun), which the
Debian package wordnet-base puts in /usr/share/wordnet.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from timm.data import ImageNetInfo

from sct_hf.files import atomic_write
from sct_hf.label_text.class_words import TABLE

_HYPERNYM = ("@", "@i")


def rows(folder: Path) -> Iterator[str]:
    """The lines of the table, from the files of WordNet in a folder."""
    parents = dict(_parents(folder / "data.noun"))
    info = ImageNetInfo("imagenet-1k")
    todo = {info.index_to_label_name(index) for index in range(info.num_classes())}
    kept: set[str] = set()
    while todo:
        kept |= todo
        todo = {parent for synset in todo for parent in parents[synset]} - kept
    words: dict[str, list[str]] = {synset: [] for synset in sorted(kept)}
    for word, senses in _senses(folder / "index.noun"):
        first = next((synset for synset in senses if synset in kept), None)  # the commonest sense comes first
        if first and any(map(str.isalpha, word)):
            words[first].append(word)
    for synset, its_words in words.items():
        yield "\t".join((synset, "|".join(parents[synset]), "|".join(sorted(its_words))))


def _parents(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Each synset and what it is a kind or an instance of."""
    for line in file.read_text(encoding="ascii").splitlines():
        if not line.startswith("  "):  # the licence
            columns = line.partition("|")[0].split()
            first = 5 + 2 * int(columns[3], 16)  # after the words
            pointers = zip(columns[first::4], columns[first + 1 :: 4], strict=False)
            yield f"n{columns[0]}", [f"n{offset}" for symbol, offset in pointers if symbol in _HYPERNYM]


def _senses(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Each word and the synsets that it names."""
    for line in file.read_text(encoding="ascii").splitlines():
        if not line.startswith("  "):
            columns = line.split()
            yield columns[0].replace("_", " "), [f"n{offset}" for offset in columns[-int(columns[2]) :]]


if __name__ == "__main__":
    with atomic_write(TABLE) as temporary:
        temporary.write_text("\n".join(rows(Path(sys.argv[1]))) + "\n", encoding="utf-8")
