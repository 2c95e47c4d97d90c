"""The formats of an export by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sct_hf.export.runners import Runner, onnx_runner, openvino_runner, torch_export_runner


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        suffix: Of its file.
        run: Opens the file, with a number of threads, as a function.
        packages: What writing and running it needs beside the package's own dependencies, as in an import.
        has_int8: Whether int8 can be had in it.
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
"""What the name of a format ends with where its file computes in int8."""


def open_file(name: str, path: Path, threads: int) -> Runner:
    """Open a file of an export as a function.

    Args:
        name: Its format, such as "onnx" or "onnx_int8".
        path: The file.
        threads: To compute with; 0 leaves the number to the format's library.

    Raises:
        InputError: A package is not installed.
    """
    return FORMATS[name.removesuffix(INT8)].run(path, threads)
