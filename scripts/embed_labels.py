"""Label names → a safetensors file of text vectors, for `--label_encoder FILE`.

python scripts/embed_labels.py dog "traffic light" --output labels.safetensors
python scripts/embed_labels.py --labels_file labels.txt --encoder glove:glove.6B.300d.txt --output labels.safetensors
python scripts/embed_labels.py --dataset coco --data_dir coco --split val2017 --output coco.safetensors
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from sct_hf.data import load_data
from sct_hf.data.listing import read_names
from sct_hf.data.scenes import SCENE_LABELS
from sct_hf.data.voc import VOC_LABELS
from sct_hf.errors import InputError
from sct_hf.escaping import in_line
from sct_hf.label_text.encoders import encode_labels

_KNOWN_LABELS = {"scenes": SCENE_LABELS, "voc2007": VOC_LABELS, "voc2012": VOC_LABELS}


def main(argv: Sequence[str] | None = None) -> int:
    """Embed the labels and write the file.

    Returns:
        The exit status: 0, or 2 when the input is wrong.
    """
    options = _parser().parse_args(argv)
    try:
        label_vectors = encode_labels(
            _label_names(options), options.encoder, template=options.template, seed=options.seed
        )
        label_vectors.save(options.output, dtype=torch.float16 if options.half else torch.float32)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, words in zip(label_vectors.names, label_vectors.recipe["words"], strict=True):
        print(in_line(name if name == words else f"{name} → {words}"))
    count, width = label_vectors.embeddings.shape
    print(f"{options.output}: {count} labels × {width} by {label_vectors.recipe['encoder']}")
    return 0


def _label_names(options: argparse.Namespace) -> list[str]:
    given = [bool(options.names), options.labels_file is not None, options.dataset is not None]
    if sum(given) != 1:
        raise InputError("labels: give names, or --labels_file, or --dataset: one of the three.")
    if options.labels_file is not None:
        if not options.labels_file.is_file():
            raise InputError(f"labels_file={str(options.labels_file)!r}: no such file. Give one name a line.")
        return read_names(options.labels_file)
    if options.dataset is not None:
        known = _KNOWN_LABELS.get(options.dataset)
        return known or load_data(options.dataset, options.split, data_dir=options.data_dir).label_names
    return options.names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="label names")
    parser.add_argument("--labels_file", type=Path, help="text file with one label name a line")
    parser.add_argument("--dataset", help="take the labels of this data set")
    parser.add_argument("--data_dir", help="folder of the data set")
    parser.add_argument("--split", default="train", help="split of the data set to read the labels from (%(default)s)")
    parser.add_argument(
        "--encoder",
        default="bert-base-uncased",
        help="Hub name or folder of a text encoder, minilm, glove, glove:PATH, random, random:DIM or shuffled:ENCODER "
        "(%(default)s)",
    )
    parser.add_argument(
        "--template", default="{}", help="prompt in which {} stands for the label's words (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random encoder (%(default)s)")
    parser.add_argument("--half", action="store_true", help="write float16: half the size")
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors file to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
