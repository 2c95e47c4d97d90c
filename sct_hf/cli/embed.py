"""Embed label names as text vectors, in a file for --label_encoder."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers.utils import logging

from sct_hf.cli._parser import CommandParser
from sct_hf.data import load_data
from sct_hf.data.listing import read_names
from sct_hf.data.scenes import SCENE_LABELS
from sct_hf.data.voc import VOC_LABELS
from sct_hf.errors import InputError
from sct_hf.escaping import in_line
from sct_hf.extras import usual_encoder
from sct_hf.label_text.encoders import encode_labels

EXTRAS = {"": "train"}

_KNOWN_LABELS = {"scenes": SCENE_LABELS, "voc2007": VOC_LABELS, "voc2012": VOC_LABELS}


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(
        prog="sct-hf embed",
        description='Embed label names: sct-hf embed dog "traffic light" --output labels.safetensors',
    )
    made.add_argument("names", nargs="*", help="label names")
    made.add_argument("--labels_file", type=Path, help="text file with one label name per line")
    made.add_argument("--dataset", help="take the labels of this data set")
    made.add_argument("--data_dir", help="folder of the data set")
    made.add_argument("--split", default="train", help="split of the data set to read the labels from (%(default)s)")
    made.add_argument(
        "--encoder",
        help="Hub name or folder of a text encoder, minilm, glove, glove:PATH, random, random:DIM or shuffled:ENCODER "
        "(minilm if its package is installed, else bert-base-uncased)",
    )
    made.add_argument(
        "--template",
        default="{}",
        help="prompt in which {} stands for the label's words, or several with | between them (%(default)s)",
    )
    made.add_argument("--seed", type=int, default=0, help="seed of the random encoder (%(default)s)")
    made.add_argument("--half", action="store_true", help="write float16: half the size")
    made.add_argument("--output", type=Path, required=True, help="the .safetensors file to write")
    return made


def main(argv: Sequence[str]) -> int:
    """Embed the labels, write the file and return the exit code 0.

    Raises:
        InputError: The labels or the encoder cannot be used.
    """
    options = parser().parse_args(argv)
    logging.disable_progress_bar()
    encoder = options.encoder or usual_encoder()
    label_vectors = encode_labels(_label_names(options), encoder, template=options.template, seed=options.seed)
    label_vectors.save(options.output, dtype=torch.float16 if options.half else torch.float32)
    for name, words in zip(label_vectors.names, label_vectors.recipe["words"], strict=True):
        print(in_line(name if name == words else f"{name} → {words}"))
    count, width = label_vectors.embeddings.shape
    print(f"{options.output}: {count} labels × {width} by {label_vectors.recipe['encoder']}")
    return 0


def _label_names(options: argparse.Namespace) -> list[str]:
    given = [bool(options.names), options.labels_file is not None, options.dataset is not None]
    if sum(given) != 1:
        raise InputError("labels: give exactly one of names, --labels_file and --dataset.")
    if options.labels_file is not None:
        if not options.labels_file.is_file():
            raise InputError(f"labels_file={str(options.labels_file)!r}: no such file. Give one name a line.")
        return read_names(options.labels_file)
    if options.dataset is not None:
        known = _KNOWN_LABELS.get(options.dataset)
        return known or load_data(options.dataset, options.split, data_dir=options.data_dir).label_names
    return options.names
