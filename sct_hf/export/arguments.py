"""What an export can be told."""

from dataclasses import dataclass

from sct_hf.export.formats import FORMATS
from sct_hf.options import SEED, CheckedOptions, option, require

_GROUP = "export"


@dataclass
class ExportArguments(CheckedOptions):
    """Which checkpoint is exported, and to what."""

    model: str = option("", "Folder of a checkpoint, or its name on the Hub.", group=_GROUP)
    output_dir: str = option(
        "outputs/export", "Folder to make, with the graphs and export.json.", group=_GROUP, folder=True
    )
    overwrite_output_dir: bool = option(False, "Replace the export that output_dir holds.", group=_GROUP)
    format: list[str] = option(["onnx"], f"One or more of {', '.join(FORMATS)}.", group=_GROUP)
    maps: bool = option(
        False, "Give the region-to-label transport plan as a second output, for heatmaps.", group=_GROUP
    )
    fixed_size: bool = option(
        False, "Fix height and width to the model's, where they could be left open.", group=_GROUP
    )
    int8: bool = option(
        False, "Also write the ONNX and OpenVINO formats with convolutions and linear layers in int8.", group=_GROUP
    )
    calibration_images: list[str] = option(
        [], "Image files, folders or globs that int8 is calibrated on.", group=_GROUP
    )
    calibration_count: int = option(
        300, "Calibrate on this many of them, drawn at random.", group=_GROUP, within="> 0"
    )
    evaluate: bool = option(False, "Then score all formats on the evaluation split, and time them.", group=_GROUP)
    cpu_threads: int = option(1, "Threads of that.", group=_GROUP, within="> 0")
    rounds: int = option(20, "Rounds of timing.", group=_GROUP, within="> 0")
    seed: int = option(0, "Seed of what is drawn at random.", group=_GROUP, within=SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.model), "model", self.model, "give the folder of a checkpoint, or its name on the Hub")
        known = bool(self.format) and set(self.format) <= set(FORMATS)
        require(known, "format", self.format, f"give one or more of {', '.join(FORMATS)}")
        quantised = any(FORMATS[name].has_int8 for name in self.format)
        require(quantised or not self.int8, "int8", self.int8, "it needs onnx or openvino among --format")
        require(
            bool(self.calibration_images) or not self.int8,
            "calibration_images",
            self.calibration_images,
            "int8 needs some hundred images like those that the model will see; give files, folders or globs",
        )
