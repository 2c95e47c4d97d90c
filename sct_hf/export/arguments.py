"""Options of an export."""

from dataclasses import dataclass

from sct_hf.export.formats import FORMATS
from sct_hf.options import SEED, CheckedOptions, option, require

_GROUP = "export"


@dataclass
class ExportArguments(CheckedOptions):
    """Which checkpoint to export, and to which formats."""

    model: str | None = option(
        None,
        "Checkpoint to export: a folder or a name on the Hub.",
        group=_GROUP,
        unset="the checkpoint of the package",
    )
    output_dir: str = option("outputs/export", "Folder for the graphs and export.json.", group=_GROUP, folder=True)
    overwrite_output_dir: bool = option(False, "Replace an export in the output folder.", group=_GROUP)
    format: list[str] = option(["onnx"], f"One or more of {', '.join(FORMATS)}.", group=_GROUP)
    web_runtime: str = option(
        "", "Folder of the npm package onnxruntime-web, for the format browser; npm fetches it if empty.", group=_GROUP
    )
    maps: bool = option(False, "Add the region-to-label transport plan as a further output.", group=_GROUP)
    fixed_size: bool = option(False, "Fix height and width to the model's, even if they could vary.", group=_GROUP)
    int8: bool = option(
        False, "Also write ONNX and OpenVINO files with int8 convolutions and linear layers.", group=_GROUP
    )
    calibration_images: list[str] = option(
        [], "Image files, folders or globs to calibrate int8 and the format browser on.", group=_GROUP
    )
    calibration_count: int = option(300, "Calibrate on this many images, drawn at random.", group=_GROUP, within="> 0")
    evaluate: bool = option(False, "Also score and time all formats on the evaluation split.", group=_GROUP)
    cpu_threads: int = option(1, "CPU threads of the benchmark.", group=_GROUP, within="> 0")
    rounds: int = option(20, "Timing rounds of the benchmark.", group=_GROUP, within="> 0")
    seed: int = option(0, "Seed of all random choices.", group=_GROUP, within=SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = bool(self.format) and set(self.format) <= set(FORMATS)
        require(known, "format", self.format, f"give one or more of {', '.join(FORMATS)}")
        quantised = any(FORMATS[name].has_int8 for name in self.format)
        require(quantised or not self.int8, "int8", self.int8, "it needs onnx or openvino in --format")
        require(
            bool(self.calibration_images) or not self.int8,
            "calibration_images",
            self.calibration_images,
            "int8 needs about a hundred typical images; give files, folders or globs",
        )
