"""What an export can be told."""

from dataclasses import dataclass, field
from typing import Any

from sct_hf.errors import InputError
from sct_hf.export.formats import FORMATS


def _option(default: Any, description: str) -> Any:
    return field(default=default, metadata={"help": description})


@dataclass
class ExportArguments:
    """Which checkpoint is exported, and to what."""

    model: str = _option("", "Folder of a checkpoint, or its name on the Hub.")
    output_dir: str = _option("outputs/export", "Folder to make, with the graphs and export.json.")
    overwrite_output_dir: bool = _option(False, "Replace the export that output_dir holds.")
    format: list[str] = field(
        default_factory=lambda: ["onnx"], metadata={"help": f"One or more of {', '.join(FORMATS)}."}
    )
    maps: bool = _option(False, "Give the region-to-label transport plan as a second output, for heatmaps.")
    fixed_size: bool = _option(False, "Fix height and width to the model's, where they could be left open.")
    int8: bool = _option(
        False, "Also write the ONNX and OpenVINO formats with convolutions and linear layers in int8."
    )
    calibration_images: list[str] = field(
        default_factory=list, metadata={"help": "Image files, folders or globs that int8 is calibrated on."}
    )
    calibration_count: int = _option(300, "Calibrate on this many of them, drawn at random.")
    evaluate: bool = _option(False, "Then score all formats on the evaluation split, and time them.")
    cpu_threads: int = _option(1, "Threads of that.")
    rounds: int = _option(20, "Rounds of timing.")
    seed: int = _option(0, "Seed of what is drawn at random.")

    def __post_init__(self) -> None:
        def require(holds: bool, name: str, remedy: str) -> None:
            if not holds:
                raise InputError(f"{name} is {getattr(self, name)!r}: {remedy}")

        require(bool(self.model), "model", "give the folder of a checkpoint, or its name on the Hub")
        known = bool(self.format) and set(self.format) <= set(FORMATS)
        require(known, "format", f"give one or more of {', '.join(FORMATS)}")
        for name in ("calibration_count", "cpu_threads", "rounds"):
            require(getattr(self, name) > 0, name, "give a number > 0")
        quantised = any(FORMATS[name].has_int8 for name in self.format)
        require(quantised or not self.int8, "int8", "it needs onnx or openvino among --format")
        require(
            bool(self.calibration_images) or not self.int8,
            "calibration_images",
            "int8 needs some hundred images like those that the model will see; give files, folders or globs",
        )
