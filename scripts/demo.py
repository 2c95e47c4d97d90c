"""Try a model in the browser: `python scripts/demo.py --model outputs/run`."""

import argparse
import sys
from pathlib import Path

from transformers.utils import logging

from sct_hf.errors import InputError
from sct_hf.escaping import markdown_code
from sct_hf.hub.own_checkpoint import own_checkpoint
from sct_hf.inference.limits import add_limits, limits_of
from sct_hf.inference.tagger import Tagger


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="A page to try a model: tags with their scores, thresholds, heatmaps, labels of your own. It is "
        "served on this machine only, until Ctrl+C.",
    )
    parser.add_argument("--model", help="Folder of a checkpoint, or its name on the Hub; that of the project if none.")
    parser.add_argument("--label_encoder", help="Text encoder of labels, where the checkpoint cannot tell.")
    parser.add_argument("--port", type=int, help="Port of the page; the first free one from 7860 by default.")
    parser.add_argument("--share", action="store_true", help="Also make a public link, through Gradio's servers.")
    parser.add_argument("--device", help="Such as cpu or cuda:1; the machine's accelerator, if any, by default.")
    add_limits(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve the page until it is stopped, and return the exit code."""
    arguments = parse(argv)
    logging.disable_progress_bar()
    try:
        from sct_hf.demo.interface import LAUNCH, build
    except ModuleNotFoundError as error:
        print(f'error: the demo needs {error.name}, not installed here: pip install -e ".[demo]"', file=sys.stderr)
        return 2
    try:
        name = arguments.model or own_checkpoint()
        tagger = Tagger.from_pretrained(name, arguments.device, limits_of(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    page = build(tagger.pipeline, markdown_code(Path(name).name), label_encoder=arguments.label_encoder)
    try:
        page.launch(server_port=arguments.port, share=arguments.share, **LAUNCH)
    except OSError as error:  # the port
        print(f"error: port: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
