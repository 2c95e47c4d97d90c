"""A folder for any static server: a page that tags images in the browser, and the layout of transformers.js."""

import json
import shutil
from pathlib import Path
from typing import Any

from sct_hf.export.compact import compact
from sct_hf.export.sources import Sources
from sct_hf.export.web_runtime import copy_web_runtime
from sct_hf.model.configuration_sct import BackboneConfig

BROWSER_GRAPH = "onnx/model_quantized.onnx"
"""The graph's place: where transformers.js looks for a model with `dtype: "q8"`."""

_PAGE = Path(__file__).with_name("page")
_CARD = """---
title: Image tagger
sdk: static
pinned: false
---
A page that tags images on the visitor's own device. Put this folder on any static server, or into a static Space.
"""


def write_browser(sources: Sources, folder: Path) -> None:
    """Write the graph, the page, onnxruntime-web, and the configuration that transformers.js reads.

    The page reads labels, thresholds and preprocessing from export.json.

    Args:
        sources: What it is written from.
        folder: The folder of the export.

    Raises:
        InputError: A package is not installed, or onnxruntime-web is not to be had.
    """
    copy_web_runtime(sources.web_runtime, folder / "runtime")
    (folder / BROWSER_GRAPH).parent.mkdir()
    compact(sources.onnx, folder / BROWSER_GRAPH, sources.images)
    for file in _PAGE.iterdir():
        shutil.copyfile(file, folder / file.name)
    (folder / "README.md").write_text(_CARD, encoding="utf-8")
    config = sources.model.config
    _write(folder / "config.json", _model_of_transformers_js(config))
    _write(folder / "preprocessor_config.json", _processor_of_transformers_js(config))


def _model_of_transformers_js(config: BackboneConfig) -> dict[str, Any]:
    """Fields that transformers.js reads. It knows no model type "sct", and takes any image classifier's the same."""
    labels = config.label_names
    return {
        "model_type": "vit",
        "architectures": ["ViTForImageClassification"],
        "problem_type": "multi_label_classification",
        "id2label": dict(enumerate(labels)),
        "label2id": {name: label for label, name in enumerate(labels)},
    }


def _processor_of_transformers_js(config: BackboneConfig) -> dict[str, Any]:
    height, width = config.input_size
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 2,  # bilinear
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(config.image_mean),
        "image_std": list(config.image_std),
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
