"""The formats of an export by name."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from sct_hf.export.browser import BROWSER_GRAPH, write_browser
from sct_hf.export.openvino_file import write_openvino
from sct_hf.export.output_folder import copy_example
from sct_hf.export.runners import Runner, compact_runner, onnx_runner, openvino_runner, torch_export_runner
from sct_hf.export.sources import INT8, Sources


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        file: Name of its file; that of int8 ends in "_int8".
        write: Writes the file into a folder, in int8 too if that is wanted, with all that belongs to it.
        run: Opens the file as a function, with a number of threads.
        packages: Import names of the packages that writing and running it needs besides the package's own.
        has_int8: Whether the format supports int8.
        precision: "float32", or how its file differs from that.
        heatmaps: Whether heatmaps are an output wherever the model has them, and no plan is.
    """

    file: str
    write: Callable[[Sources, Path], None]
    run: Callable[[Path, int], Runner]
    packages: tuple[str, ...] = ()
    has_int8: bool = False
    precision: str = "float32"
    heatmaps: bool = False

    @property
    def suffix(self) -> str:
        """Ending of its file."""
        return Path(self.file).suffix


def _write_onnx(sources: Sources, folder: Path) -> None:
    for path in sources.onnx_files:
        for part in path.parent.glob(f"{path.name}*"):  # weights above 1.5 GB lie beside the graph
            shutil.copy(part, folder)
    copy_example(folder)


def _write_openvino(sources: Sources, folder: Path) -> None:
    for path in sources.onnx_files:
        write_openvino(path, folder / f"{path.stem}.xml")


def _write_torch_export(sources: Sources, folder: Path) -> None:
    torch.export.save(sources.graph.program, folder / "model.pt2")


_ONNX = ("onnx", "onnxscript", "onnxruntime")
FORMATS = {
    "onnx": Format("model.onnx", _write_onnx, onnx_runner, _ONNX, has_int8=True),
    "openvino": Format("model.xml", _write_openvino, openvino_runner, (*_ONNX, "openvino"), has_int8=True),
    "torch_export": Format("model.pt2", _write_torch_export, torch_export_runner),
    "browser": Format(BROWSER_GRAPH, write_browser, compact_runner, _ONNX, precision="int8 weights", heatmaps=True),
}


def format_of(name: str) -> Format:
    """The format of a file's name in an export, such as "onnx" or "onnx_int8"."""
    return FORMATS[name.removesuffix(INT8)]


def precision_of(name: str) -> str:
    """The precision of a file, such as "onnx_int8"; all but "float32" are only near the model."""
    return "int8" if name.endswith(INT8) else format_of(name).precision


def exported_files(folder: Path) -> dict[str, Path]:
    """Files of an export by format, such as "onnx" and "onnx_int8"."""
    paths = {name: folder / form.file for name, form in FORMATS.items()}
    found = {
        f"{name}{kind}": path.with_stem(f"{path.stem}{kind}") for name, path in paths.items() for kind in ("", INT8)
    }
    return {name: path for name, path in found.items() if path.is_file()}


def open_file(name: str, path: Path, threads: int) -> Runner:
    """Open a file of an export as a function.

    Args:
        name: The format, such as "onnx" or "onnx_int8".
        path: The file.
        threads: CPU threads; 0 uses the library's default.

    Raises:
        InputError: A package is not installed.
    """
    return format_of(name).run(path, threads)
