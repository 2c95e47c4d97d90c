"""A checkpoint as a folder of graphs, each compared with the model."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sct_hf.errors import InputError
from sct_hf.export.agreement import MAX_DIFFERENCE, agreement, difference
from sct_hf.export.arguments import ExportArguments
from sct_hf.export.calibration import CalibrationImages
from sct_hf.export.formats import FORMATS, exported_files, format_of, open_file, precision_of
from sct_hf.export.graph import HEATMAP, INPUT, LOGITS, PLAN, SCORES, Graph, gives_heatmaps
from sct_hf.export.onnx_file import OPSET
from sct_hf.export.optional import require, version_of
from sct_hf.export.output_folder import check_output_folder, whole_folder, write_metadata
from sct_hf.export.runners import Runner, eager_runner
from sct_hf.export.sources import Sources
from sct_hf.model.backbone_sct import BackbonePreTrainedModel
from sct_hf.model.outputs_sct import default_profile, label_thresholds
from sct_hf.own_checkpoint import NAME
from sct_hf.progress import progress_bar
from sct_hf.training.devices import cpu_name, has_vnni

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
    with (
        progress_bar(total=2, shown=sys.stderr.isatty(), leave=False, desc="writing the files", unit="step") as steps,
        whole_folder(folder, overwrite=arguments.overwrite_output_dir) as made,
    ):
        graphs = _write_files(model, arguments, images, made)
        steps.set_description("comparing the files with the model", refresh=False)
        steps.update()
        content = _description(model, graphs, arguments)
        files = exported_files(made)
        for maps, graph in graphs.items():
            names = [name for name in files if _maps(name, model, arguments) == maps]
            runners = {name: open_file(name, files[name], 0) for name in names}
            content["files"] |= _compare(model, graph, runners, images)
        for name, path in files.items():
            place = {"file": path.relative_to(made).as_posix(), "megabytes": file_size(path) / 1e6}
            content["files"][name] = place | content["files"][name]
        write_metadata(made, content)
        steps.update()
    return content


def _maps(name: str, model: BackbonePreTrainedModel, arguments: ExportArguments) -> tuple[str, ...]:
    """Which maps a format's graph has as further outputs."""
    if format_of(name).heatmaps:
        return (HEATMAP,) if gives_heatmaps(model) else ()
    return (PLAN,) if arguments.maps else ()


def _write_files(
    model: BackbonePreTrainedModel, arguments: ExportArguments, images: CalibrationImages | None, folder: Path
) -> dict[tuple[str, ...], Graph]:
    """Write the files of all formats; the graphs that they were made from, by their maps."""
    sources: dict[tuple[str, ...], Sources] = {}
    with TemporaryDirectory(dir=folder) as temporary:
        for name in arguments.format:
            maps = _maps(name, model, arguments)
            if maps not in sources:
                scratch = Path(temporary, *maps, "files")
                scratch.mkdir(parents=True)
                options = (arguments.fixed_size, images, arguments.int8, arguments.web_runtime)
                sources[maps] = Sources(model, maps, *options, scratch)
            FORMATS[name].write(sources[maps], folder)
    return {maps: made.graph for maps, made in sources.items()}


def _compare(
    model: BackbonePreTrainedModel, graph: Graph, runners: dict[str, Runner], images: CalibrationImages | None
) -> dict[str, dict[str, Any]]:
    """How far files with the same outputs are from the model, by format.

    Raises:
        InputError: A file is too far.
    """
    expected = eager_runner(model, graph.outputs[2:])
    batches = list(_compared(model, graph, images))
    rounded = {name: run for name, run in runners.items() if precision_of(name) != "float32"}
    seen = images if images is not None and rounded else None
    agreed = {} if seen is None else agreement(rounded, expected, seen, graph.outputs, _thresholds(model.config))
    made = {}
    for name, run in runners.items():
        differences = _differences(run, expected, batches, graph.outputs)
        found = agreed.get(name, {"max_difference": differences})
        _check(name, differences, found["max_difference"])
        made[name] = {"precision": precision_of(name), **found}
    return made


def _check(name: str, differences: dict[str, float], on_images: dict[str, float]) -> None:
    rounded = precision_of(name) != "float32"
    worst = max(*differences.values(), *on_images.values())
    if np.isinf(worst) or not (rounded or worst <= MAX_DIFFERENCE):
        allowed = "any finite number" if rounded else f"at most {MAX_DIFFERENCE}"
        raise InputError(
            f"format: {name} differs from the model: by {differences}, where {allowed} is "
            "allowed; leave it out, or try other versions of its packages"
        )
    if rounded and on_images.get(PLAN, 0) > MAX_PLAN_DIFFERENCE:
        raise InputError(
            f"maps is True: the transport plan of {name} is up to {on_images[PLAN]:.2f} from the model's on the "
            f"calibration images, where {MAX_PLAN_DIFFERENCE} is allowed. Leave out --maps here, and export the graph "
            "for heatmaps without --int8, to another folder"
        )


def file_size(path: Path) -> int:
    """Size of a graph in bytes, including a separate file of weights."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.stem}.*") if _belongs(file, path))


def _belongs(file: Path, path: Path) -> bool:
    return file == path or file.name in (f"{path.name}.data", f"{path.stem}.bin" if path.suffix == ".xml" else "")


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


def _description(
    model: BackbonePreTrainedModel, graphs: dict[tuple[str, ...], Graph], arguments: ExportArguments
) -> dict[str, Any]:
    graph, *_ = graphs.values()  # they differ in their maps alone
    config = model.config
    labels = config.label_names
    profiles = [*config.thresholds] if isinstance(config.thresholds, dict) else []
    shape: list[Any] = [None, config.num_channels, *config.input_size]
    shape = [graph.open_axes.get(axis, length) for axis, length in enumerate(shape)]
    outputs: dict[str, list[Any]] = {name: ["batch", len(labels)] for name in (LOGITS, SCORES)}
    if any(PLAN in maps for maps in graphs):
        outputs[PLAN] = ["batch", len(labels), "rows", "columns"]
    return {
        "model": arguments.model or NAME,
        "backbone": config.backbone,
        "labels": labels,
        "thresholds": _or_null(_thresholds(config)),
        "profile": default_profile(profiles) if profiles else None,
        "profiles": {name: _or_null(_thresholds(config, name)) for name in profiles},
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
        "versions": {name: found for name in _PACKAGES if (found := version_of(name))},
        "files": {},
    }


def _thresholds(config: Any, profile: str | None = None) -> list[float]:
    return label_thresholds(config, profile) or [0.5] * len(config.label_names)


def _or_null(thresholds: list[float]) -> list[float | None]:
    """Thresholds as JSON has them: null where a label cannot keep what the profile promises."""
    return [value if np.isfinite(value) else None for value in thresholds]
