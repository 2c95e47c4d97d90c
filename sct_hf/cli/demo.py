"""Serve a page to try a model in the browser."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from sct_hf.cli._parser import CommandParser
from sct_hf.errors import InputError
from sct_hf.escaping import markdown_code
from sct_hf.inference.limits import add_limits, limits_of
from sct_hf.inference.tagger import Tagger
from sct_hf.own_checkpoint import given_or_own

EXTRAS = {"": "demo"}


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(
        prog="sct-hf demo",
        description="Serve a page to try a model: tags with scores, thresholds, heatmaps. Only this machine can open "
        "it. Ctrl+C ends it.",
    )
    made.add_argument("--model", help="Checkpoint: a folder or a name on the Hub (default: the one in the package).")
    made.add_argument("--label_encoder", help="Text encoder for new labels, if the checkpoint records no usable one.")
    made.add_argument("--port", type=int, help="Port of the page (default: the first free one from 7860).")
    made.add_argument("--share", action="store_true", help="Also make a public link, through Gradio's servers.")
    made.add_argument("--device", help="Device, such as cpu or cuda:1 (default: the machine's accelerator, if any).")
    add_limits(made)
    return made


def main(argv: Sequence[str]) -> int:
    """Serve the page until it is stopped, and return the exit code 0.

    Raises:
        InputError: The model or the port cannot be used.
    """
    arguments = parser().parse_args(argv)
    from sct_hf.demo.interface import LAUNCH, build  # takes a second

    logging.disable_progress_bar()
    name = given_or_own(arguments.model)
    tagger = Tagger.from_pretrained(name, arguments.device, limits_of(arguments))
    page = build(tagger.pipeline, markdown_code(Path(name).name), label_encoder=arguments.label_encoder)
    try:
        page.launch(server_port=arguments.port, share=arguments.share, **LAUNCH)
    except OSError as error:
        raise InputError(f"port: {error}") from error
    return 0
