"""Export a checkpoint: `python scripts/export.py --model FOLDER --format onnx openvino torch_export`, see --help.

With --evaluate, --dataset, --data_dir, --eval_split and so on say what the formats are scored on.
"""

import sys
from pathlib import Path

from transformers.utils import logging

from sct_hf.benchmark.exported import compare_formats
from sct_hf.errors import InputError
from sct_hf.export.arguments import ExportArguments
from sct_hf.export.checkpoint import export_checkpoint
from sct_hf.training.arguments import EvaluationDataArguments
from sct_hf.training.devices import cpu_kind
from sct_hf.training.models import load_model
from sct_hf.training.parsing import parse_into
from sct_hf.training.run_data import load_evaluation_images


def main(argv: list[str] | None = None) -> int:
    """Export the checkpoint, and return the exit code: 0, or 2 for input that cannot be used."""
    logging.disable_progress_bar()
    try:
        arguments, data = parse_into(argv, ExportArguments, EvaluationDataArguments)
        model = load_model(arguments.model, field="model")
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
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
