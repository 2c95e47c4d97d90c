"""Tag images with any labels, by their names alone."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sct_hf.cli._parser import CommandParser
from sct_hf.cli._tagging import EPILOG, add_images, add_output, label_names, tag
from sct_hf.errors import InputError
from sct_hf.factory import image_processor
from sct_hf.inference.tagger import Tagger, usable_device
from sct_hf.model.image_processing_sct import Limits
from sct_hf.zero_shot import zero_shot_model

EXTRAS = {"": "offline"}


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(
        prog="sct-hf zero-shot",
        description="Tag images with any labels, by their names alone: the ImageNet classifier of a backbone is asked "
        "for the classes of each label. No training.",
        epilog=EPILOG,
    )
    add_images(made)
    made.add_argument(
        "--labels", nargs="+", default=[], help='Names of labels, at least two: --labels dog "potted plant".'
    )
    made.add_argument("--labels_file", type=Path, help="Text file of labels, one per line.")
    made.add_argument("--backbone", default="tf_efficientnet_lite0", help="Name of a timm model (%(default)s).")
    made.add_argument(
        "--backbone_weights",
        default="package",
        help="Its weights with their ImageNet classifier: package, pretrained (timm's, from the Hub) or a file "
        "(%(default)s).",
    )
    made.add_argument("--label_encoder", default="minilm", help="Text encoder, as for sct-hf embed (%(default)s).")
    made.add_argument("--image_size", type=int, default=256, help="Side of the input in pixels (%(default)s).")
    made.add_argument("--output_dir", type=Path, help="Folder to save the tagger in, for --model of other commands.")
    add_output(made)
    return made


def main(argv: Sequence[str]) -> int:
    """Tag the images, and return the exit code: 0, or 1 if some images could not be read.

    Raises:
        InputError: No image could be tagged, or no result written.
    """
    arguments = parser().parse_args(argv)
    names = label_names(arguments)
    if len(names) < 2:
        raise InputError(f"labels are {names}: give at least two names")

    def load(limits: Limits) -> Tagger:
        device = usable_device(arguments.device)
        model = zero_shot_model(
            names,
            backbone=arguments.backbone,
            backbone_weights=arguments.backbone_weights,
            label_encoder=arguments.label_encoder,
            image_size=arguments.image_size,
        )
        processor = image_processor(model.config)
        if arguments.output_dir is not None:
            model.save_pretrained(arguments.output_dir)
            processor.save_pretrained(arguments.output_dir)
        model.to(device)  # type: ignore[arg-type]  # transformers wraps it without its types
        return Tagger(model, processor, limits)

    return tag(arguments, load)
