"""The formats of an export by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sct_hf.export.runners import Runner, onnx_runner, openvino_runner, torch_export_runner


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        suffix: Ending of its file.
        run: Opens the file as a function, with a number of threads.
        packages: Import names of the packages that writing and running it needs besides the package's own.
        has_int8: Whether the format supports int8.
    """

    suffix: str
    run: Callable[[Path, int], Runner]
    packages: tuple[str, ...] = ()
    has_int8: bool = False


_ONNX = ("onnx", "onnxscript", "onnxruntime")
FORMATS = {
    "onnx": Format(".onnx", onnx_runner, _ONNX, has_int8=True),
    "openvino": Format(".xml", openvino_runner, (*_ONNX, "openvino"), has_int8=True),  # by way of ONNX
    "torch_export": Format(".pt2", torch_export_runner),
}
INT8 = "_int8"
"""Suffix of a format's name for its int8 file."""


def open_file(name: str, path: Path, threads: int) -> Runner:
    """Open a file of an export as a function.

    Args:
        name: The format, such as "onnx" or "onnx_int8".
        path: The file.
        threads: CPU threads; 0 uses the library's default.

    Raises:
        InputError: A package is not installed.
    """
    return FORMATS[name.removesuffix(INT8)].run(path, threads)
