"""A checkpoint run by another engine while tagging: pixels in, scores out."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from transformers import PreTrainedModel

from sct_hf.errors import InputError
from sct_hf.export.agreement import MAX_DIFFERENCE, difference
from sct_hf.export.formats import FORMATS
from sct_hf.export.graph import SCORES, make_graph
from sct_hf.export.kept_graphs import graph_key, keep_graph, kept_graphs
from sct_hf.export.onnx_file import write_onnx
from sct_hf.export.optional import require
from sct_hf.export.output_folder import METADATA
from sct_hf.export.runners import Runner, eager_runner, onnx_runner, openvino_runner
from sct_hf.model.backbone_sct import BackbonePreTrainedModel

ENGINES: dict[str, Callable[[Path, int], Runner]] = {"onnxruntime": onnx_runner, "openvino": openvino_runner}
"""What opens an ONNX file, by the engine's name."""

_PLACE = 1  # of the scores among a graph's outputs, see `Graph`


@dataclass(frozen=True)
class Engine:
    """A function from `pixel_values` (B, channels, H, W) float32 to scores (B, C) float32.

    Attributes:
        run: The opened file.
        kept: Where the graph that was exported for it is kept for the next start; None if there is none.
    """

    run: Runner
    kept: Path | None = None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """The scores of images."""
        return self.run(pixels)[_PLACE]


def make_engine(name: str, model: PreTrainedModel) -> Engine:
    """Export a model to ONNX in float32, or take an exported file, and open it on the CPU.

    An exported graph is kept in the user's cache, and taken from there if it still gives the model's scores.

    Args:
        name: One of `ENGINES`, or a file that `sct-hf export` wrote, such as `exported/model_int8.onnx`.
        model: The model, on the CPU. It has the number of labels and the input's size.

    Returns:
        The engine, with torch's number of threads.

    Raises:
        InputError: There is no such engine or file, a package is missing, or the model has no export or another one.
    """
    if not isinstance(model, BackbonePreTrainedModel):
        raise InputError(
            f"engine is {name!r}, but a model of type {model.config.model_type!r} has no export: give torch"
        )
    if name in ENGINES:
        require(name, "onnx", "onnxscript", purpose=f"the engine {name}")
        engine = _exported(name, model.float())
    else:
        engine = Engine(_opened(name))
        _check_labels(Path(name), model)
    _check(name, engine.run, model)
    return engine


def _exported(name: str, model: BackbonePreTrainedModel) -> Engine:
    """The engine of a graph that was kept, or else exported now and kept."""
    open_file, key = ENGINES[name], graph_key(model)
    for path in kept_graphs(key):
        with suppress(Exception):  # each engine has errors of its own
            run = open_file(path, torch.get_num_threads())
            if _is_of(run, model):
                return Engine(run, path)
        with suppress(OSError):
            path.unlink()  # the graph is exported anew
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(make_graph(model), path)
        return Engine(open_file(path, torch.get_num_threads()), keep_graph(key, path))


def _is_of(run: Runner, model: BackbonePreTrainedModel) -> bool:
    """Whether a graph gives the scores of a model, for an image of noise: the model's code may have changed."""
    shape = (1, model.config.num_channels, *model.config.input_size)
    pixels = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return bool(difference(run(pixels)[_PLACE], eager_runner(model)(pixels)[_PLACE]).max() <= MAX_DIFFERENCE)


def _opened(name: str) -> Runner:
    path = Path(name)
    forms = [form for form in FORMATS.values() if form.suffix == path.suffix]
    forms.sort(key=lambda form: Path(form.file).name != path.name)  # the browser's graph is an ONNX file too
    if not (forms and path.is_file()):
        endings = ", ".join(dict.fromkeys(form.suffix for form in FORMATS.values()))
        raise InputError(
            f"engine is {name!r}: give torch, {', '.join(ENGINES)} or a file that sct-hf export wrote ({endings})"
        )
    return forms[0].run(path, torch.get_num_threads())


def _check(name: str, run: Runner, model: BackbonePreTrainedModel) -> None:
    """Refuse a graph that does not take the model's images or give its labels' scores."""
    shape = (1, model.config.num_channels, *model.config.input_size)
    wanted = (1, model.config.num_labels)
    try:
        outputs = run(np.zeros(shape, dtype=np.float32))
        found = outputs[_PLACE].shape
    except Exception as error:  # each engine has errors of its own
        raise InputError(f"engine is {name!r}, whose {SCORES} cannot be computed ({error})") from error
    if found != wanted:
        raise InputError(f"engine is {name!r}, which gives scores of shape {found}, where the model has {wanted}")


def _check_labels(path: Path, model: BackbonePreTrainedModel) -> None:
    """Refuse a file whose export has other labels, by the metadata of its folder if they are there."""
    places = (path.parents[len(Path(form.file).parts) - 1] for form in FORMATS.values() if path.match(form.file))
    try:
        content = json.loads((next(places, path.parent) / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    labels = content.get("labels") if isinstance(content, dict) else None
    if isinstance(labels, list) and labels != model.config.label_names:
        differing = zip_longest(labels, model.config.label_names)
        found, wanted = next((one, other) for one, other in differing if one != other)
        raise InputError(
            f"engine is {str(path)!r}, an export of another checkpoint: it has the label {found!r} where the model "
            f"has {wanted!r}. Give its own checkpoint by model, or export this one"
        )
