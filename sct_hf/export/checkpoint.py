"""A checkpoint as a folder of graphs, each compared with the model."""

import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from sct_hf.errors import InputError
from sct_hf.export.agreement import agreement, difference
from sct_hf.export.arguments import ExportArguments
from sct_hf.export.calibration import CalibrationImages
from sct_hf.export.formats import FORMATS, INT8, open_file
from sct_hf.export.graph import INPUT, LOGITS, PLAN, SCORES, Graph, make_graph
from sct_hf.export.onnx_file import OPSET, write_onnx
from sct_hf.export.openvino_file import write_openvino
from sct_hf.export.optional import require
from sct_hf.export.output_folder import check_output_folder, copy_example, whole_folder, write_metadata
from sct_hf.export.quantise import quantise
from sct_hf.export.runners import Runner, eager_runner
from sct_hf.model.backbone_sct import BackbonePreTrainedModel
from sct_hf.model.outputs_sct import label_thresholds
from sct_hf.progress import progress_bar
from sct_hf.training.devices import cpu_name, has_vnni

MAX_DIFFERENCE = 1e-4
"""By how much a number that a float32 file computes may differ from the model's."""

MAX_PLAN_DIFFERENCE = 0.1
"""By how much an entry of an int8 file's transport plan, which is from 0 to 1, may differ from the model's."""

_COMPARED_IMAGES = 8
_PACKAGES = ("sct_hf", "torch", "timm", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino")


def export_checkpoint(model: BackbonePreTrainedModel, arguments: ExportArguments) -> dict[str, Any]:
    """Write a folder with the model in all chosen formats, and the files needed to use it.

    Args:
        model: The checkpoint, on the CPU. It is set to float32 and evaluation mode.
        arguments: The options of the export.

    Returns:
        The content of export.json.

    Raises:
        InputError: A package is not installed, the folder is in use, an image cannot be read, or a float32 file
            differs from the model, or an int8 file's transport plan is too far from the model's.
    """
    folder = Path(arguments.output_dir)
    check_output_folder(folder, overwrite=arguments.overwrite_output_dir)
    for name in arguments.format:
        require(*FORMATS[name].packages, purpose=f"the format {name}")
    model.float()
    images = None
    if arguments.calibration_images:
        images = CalibrationImages(
            arguments.calibration_images, model.config, count=arguments.calibration_count, seed=arguments.seed
        )
    with progress_bar(total=3, shown=sys.stderr.isatty(), leave=False, desc="tracing the model", unit="step") as steps:
        graph = make_graph(model, maps=arguments.maps, fixed_size=arguments.fixed_size)
        _next(steps, "writing the files")
        with whole_folder(folder, overwrite=arguments.overwrite_output_dir) as made:
            _write_files(graph, arguments, images, made)
            _next(steps, "comparing the files with the model")
            content = _description(model, graph, arguments)
            batches = list(_compared(model, graph, images))
            expected = eager_runner(model, maps=arguments.maps)
            runners = {name: open_file(name, path, 0) for name, path in exported_files(made).items()}
            quantised = {name: run for name, run in runners.items() if name.endswith(INT8)}
            agreed = (
                agreement(quantised, expected, images or (), graph.outputs, _thresholds(model.config))
                if quantised
                else {}
            )
            for name, path in exported_files(made).items():
                differences = _differences(runners[name], expected, batches, graph.outputs)
                found = agreed.get(name, {"max_difference": differences})
                _check(name, differences, found["max_difference"])
                content["files"][name] = {
                    "file": path.name,
                    "precision": "int8" if name in quantised else "float32",
                    "megabytes": file_size(path) / 1e6,
                    **found,
                }
            write_metadata(made, content)
            steps.update()
    return content


def _next(steps: Any, description: str) -> None:
    steps.set_description(description, refresh=False)
    steps.update()
    steps.refresh()


def _check(name: str, differences: dict[str, float], on_images: dict[str, float]) -> None:
    is_int8 = name.endswith(INT8)
    worst = max(*differences.values(), *on_images.values())
    if np.isinf(worst) or not (is_int8 or worst <= MAX_DIFFERENCE):
        allowed = "any finite number" if is_int8 else f"at most {MAX_DIFFERENCE}"
        raise InputError(
            f"format: {name} differs from the model: by {differences}, where {allowed} is "
            "allowed; leave it out, or try other versions of its packages"
        )
    if is_int8 and on_images.get(PLAN, 0) > MAX_PLAN_DIFFERENCE:
        raise InputError(
            f"maps is True: the transport plan of {name} is up to {on_images[PLAN]:.2f} from the model's on the "
            f"calibration images, where {MAX_PLAN_DIFFERENCE} is allowed. Leave out --maps here, and export the graph "
            "for heatmaps without --int8, to another folder"
        )


def exported_files(folder: Path) -> dict[str, Path]:
    """Files of an export by format, such as "onnx" and "onnx_int8"."""
    names = {
        f"{name}{kind}": folder / f"model{kind}{form.suffix}" for name, form in FORMATS.items() for kind in ("", INT8)
    }
    return {name: path for name, path in names.items() if path.is_file()}


def file_size(path: Path) -> int:
    """Size of a graph in bytes, including a separate file of weights."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.stem}.*") if _belongs(file, path))


def _belongs(file: Path, path: Path) -> bool:
    return file == path or file.name in (f"{path.name}.data", f"{path.stem}.bin" if path.suffix == ".xml" else "")


def _write_files(graph: Graph, arguments: ExportArguments, images: CalibrationImages | None, folder: Path) -> None:
    wanted = arguments.format
    if "torch_export" in wanted:
        torch.export.save(graph.program, folder / "model.pt2")
    if not {"onnx", "openvino"} & set(wanted):
        return
    with TemporaryDirectory(dir=folder) as temporary:
        scratch = Path(temporary)
        write_onnx(graph, scratch / "model.onnx")
        if arguments.int8 and images is not None:
            quantise(scratch / "model.onnx", scratch / f"model{INT8}.onnx", images)
        for path in sorted(scratch.glob("*.onnx")):
            if "openvino" in wanted:
                write_openvino(path, folder / f"{path.stem}.xml")
        if "onnx" in wanted:
            for path in scratch.glob("model*.onnx*"):
                shutil.move(path, folder)
            copy_example(folder)


def _compared(model: BackbonePreTrainedModel, graph: Graph, images: CalibrationImages | None) -> Iterator[np.ndarray]:
    """Inputs for the comparison: images or noise, single and in batches, and of another size if the size may vary."""
    height, width = model.config.input_size
    channels = model.config.num_channels
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return rng.standard_normal((*shape[:1], channels, *shape[1:]), dtype=np.float32)

    yield noise(1, height, width)
    yield noise(3, height, width) if images is None else np.concatenate(list(islice(images, _COMPARED_IMAGES)))
    if graph.any_size:
        yield noise(2, height + 32, width)


def _differences(
    run: Runner, expected: Runner, batches: list[np.ndarray], outputs: tuple[str, ...]
) -> dict[str, float]:
    """The largest difference of each output; infinite if a shape differs or a value is NaN."""
    worst = dict.fromkeys(outputs, 0.0)
    for batch in batches:
        for name, found, wanted in zip(outputs, run(batch), expected(batch), strict=True):
            worst[name] = max(worst[name], float(difference(found, wanted).max()))
    return worst


def _description(model: BackbonePreTrainedModel, graph: Graph, arguments: ExportArguments) -> dict[str, Any]:
    config = model.config
    labels = config.label_names
    shape: list[Any] = [None, config.num_channels, *config.input_size]
    shape = [graph.open_axes.get(axis, length) for axis, length in enumerate(shape)]
    outputs: dict[str, list[Any]] = {name: ["batch", len(labels)] for name in (LOGITS, SCORES)}
    if arguments.maps:
        outputs[PLAN] = ["batch", len(labels), "rows", "columns"]
    return {
        "model": arguments.model,
        "backbone": config.backbone,
        "labels": labels,
        "thresholds": _or_null(_thresholds(config)),
        "profiles": {name: _or_null(_thresholds(config, name)) for name in _profiles(config)},
        "input": {"name": INPUT, "dtype": "float32", "shape": shape},
        "outputs": outputs,
        "preprocessing": {
            "size": list(config.input_size),
            "resample": "bilinear",
            "rescale": "1/255",
            "mean": list(config.image_mean),
            "std": list(config.image_std),
        },
        "opset": OPSET,
        "calibration_images": arguments.calibration_count if arguments.int8 else 0,
        "measured_on": {"cpu": cpu_name(), "vnni": has_vnni()},
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "files": {},
    }


def _thresholds(config: Any, profile: str | None = None) -> list[float]:
    return label_thresholds(config, profile) or [0.5] * len(config.label_names)


def _profiles(config: Any) -> list[str]:
    return [*config.thresholds] if isinstance(config.thresholds, dict) else []


def _or_null(thresholds: list[float]) -> list[float | None]:
    """Thresholds as JSON has them: null where a label cannot keep what the profile promises."""
    return [value if np.isfinite(value) else None for value in thresholds]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
