"""Export a checkpoint to ONNX, OpenVINO or torch.export, or as a page that tags in the browser."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from sct_hf.export.arguments import ExportArguments
from sct_hf.export.checkpoint import export_checkpoint
from sct_hf.own_checkpoint import given_or_own
from sct_hf.training.arguments import EvaluationDataArguments
from sct_hf.training.devices import cpu_kind
from sct_hf.training.models import load_model
from sct_hf.training.parsing import parse_into, parser_of
from sct_hf.training.run_data import load_evaluation_images

EXTRAS = {"": "export", "onnx": "export", "browser": "export", "openvino": "openvino", "torch_export": "train"}

_OPTIONS = (ExportArguments, EvaluationDataArguments)


def parser() -> argparse.ArgumentParser:
    """The parser of the command. The options of data choose the images for --evaluate."""
    return parser_of(*_OPTIONS, prog="sct-hf export")


def main(argv: Sequence[str]) -> int:
    """Export the checkpoint, and return the exit code 0.

    Raises:
        InputError: Options, checkpoint or images cannot be used.
    """
    logging.disable_progress_bar()
    arguments, data = parse_into(argv, *_OPTIONS)
    if arguments.evaluate:
        from sct_hf.benchmark.exported import compare_formats  # not in the wheel: said before the work
    model = load_model(str(given_or_own(arguments.model)), field="model")
    images = None
    if arguments.evaluate:
        images = load_evaluation_images(data, arguments.seed).aligned_to(model.config.label_names)
    content = export_checkpoint(model, arguments)
    print(f"input {content['input']['shape']}")
    for file in content["files"].values():
        found = ", ".join(f"{name} within {value:.1e}" for name, value in file["max_difference"].items())
        if "same_tags" in file:
            found += f"; {file['images']} images, the same tags for {file['same_tags']:.1%}"
        print(f"{arguments.output_dir}/{file['file']}: {file['megabytes']:.1f} MB, {file['precision']}, {found}")
    print(f"measured on {cpu_kind()}")
    if images is not None:
        folder = Path(arguments.output_dir)
        options = {"threads": arguments.cpu_threads, "rounds": arguments.rounds, "num_workers": data.num_workers}
        print(f"\n{compare_formats(model, folder, images, **options)}")
    return 0
