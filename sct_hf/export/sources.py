"""What the formats are written from: a model's graphs and ONNX files, each made once."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sct_hf.export.graph import Graph, make_graph
from sct_hf.export.onnx_file import write_onnx
from sct_hf.export.quantise import quantise
from sct_hf.model.backbone_sct import BackbonePreTrainedModel

INT8 = "_int8"
"""Suffix of a format's name, and of its file's, in int8."""


@dataclass
class Sources:
    """A model's graph with some outputs, and ONNX files of it, made when a format first asks for them.

    Attributes:
        model: The checkpoint, on the CPU in float32.
        maps: Further outputs, see `make_graph`.
        fixed_size: Whether height and width are the model's, even if they could vary.
        images: Calibration images (1, channels, H, W) float32, if there are any; iterated more than once.
        int8: Whether files in int8 are wanted.
        web_runtime: Folder of the unpacked npm package onnxruntime-web; npm fetches it if empty.
        folder: An empty folder for files that several formats use.
    """

    model: BackbonePreTrainedModel
    maps: tuple[str, ...]
    fixed_size: bool
    images: Iterable[np.ndarray] | None
    int8: bool
    web_runtime: str
    folder: Path

    @cached_property
    def graph(self) -> Graph:
        """The traced model."""
        return make_graph(self.model, maps=self.maps, fixed_size=self.fixed_size)

    @cached_property
    def onnx(self) -> Path:
        """model.onnx, in float32."""
        path = self.folder / "model.onnx"
        write_onnx(self.graph, path)
        return path

    @cached_property
    def onnx_files(self) -> list[Path]:
        """model.onnx and, if wanted, model_int8.onnx."""
        if not self.int8 or self.images is None:
            return [self.onnx]
        path = self.folder / f"model{INT8}.onnx"
        quantise(self.onnx, path, self.images)
        return [self.onnx, path]
