"""An ONNX file as an OpenVINO IR."""

from pathlib import Path

from sct_hf.export.optional import require


def write_openvino(onnx_path: Path, path: Path) -> None:
    """Convert an ONNX file, in float32 or int8, to `path` (.xml) and a file of weights (.bin).

    Raises:
        InputError: OpenVINO is not installed.
    """
    require("openvino", purpose="export to OpenVINO")
    import openvino

    openvino.save_model(openvino.convert_model(onnx_path), path, compress_to_fp16=False)
