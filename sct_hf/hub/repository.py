"""The folder to publish: weights, their code, the card; and a test that it loads without this package."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, MODEL_MAPPING, PreTrainedConfig
from transformers.pipelines import PIPELINE_REGISTRY

import sct_hf.model
from sct_hf.errors import InputError
from sct_hf.hub.alone import run_alone
from sct_hf.hub.card import make_card
from sct_hf.hub.checks import TrainedRun
from sct_hf.hub.claims import NOTES, read_notes
from sct_hf.hub.evaluation import EVALUATION
from sct_hf.inference.scoring import score_images
from sct_hf.model.configuration_sct import write_code
from sct_hf.training.reliability_figure import reliability_figure
from sct_hf.training.report import write_json
from sct_hf.training.run_files import RunFile

_PACKAGE = sct_hf.model.__name__ + "."
_ENDPOINT_FILES = ("handler.py", "requirements.txt")
_TOLERANCE = 1e-6


def assemble(run: TrainedRun, repo_id: str, target: Path, *, examples: Sequence[Path] = ()) -> None:
    """Write the folder to publish as one commit, and test that it loads without this package.

    Args:
        run: The run.
        repo_id: Where it is published, "OWNER/NAME".
        target: An empty folder.
        examples: Images to show on the model's page.

    Raises:
        InputError: The author's notes have numbers that were not measured, an example is not an image, the disk is
            full, or the folder does not load without this package or scores differently.
    """
    notes = read_notes(run)
    for path in examples:
        _check_image(path)
    if len({path.name for path in examples}) < len(examples):
        raise InputError(f"examples are {', '.join(map(str, examples))}: give them different names")
    tasks = custom_pipelines()
    shown = [f"examples/{path.name}" for path in examples]
    try:
        for file in (RunFile.WEIGHTS, RunFile.METRICS, RunFile.PER_LABEL):
            shutil.copyfile(run.folder / file, target / file)
        if run.evaluation is not None:
            write_json(target / EVALUATION, run.evaluation)
        if run.decisions is not None:
            write_json(target / RunFile.DECISIONS, run.decisions)
            reliability_figure(run.decisions["calibration"], target / RunFile.RELIABILITY)
        for path, name in zip(examples, shown, strict=True):
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target / name)
        write_code(run.model.config, target)
        for path in map(Path(__file__).with_name, _ENDPOINT_FILES):
            shutil.copyfile(path, target / path.name)
        classes = auto_map(run.model.config)
        _copy_json(run.folder / RunFile.CONFIG, target, auto_map=classes, custom_pipelines=tasks)
        processor = type(run.processor)
        travels = processor.__module__.startswith(_PACKAGE)
        added = {"auto_map": {"AutoImageProcessor": _reference(processor)}} if travels else {}
        _copy_json(run.folder / RunFile.PROCESSOR, target, **added)
        card = make_card(run, repo_id, notes, examples=shown, tasks=list(tasks))
        (target / NOTES).write_text(str(card), encoding="utf-8")
        _check_alone(run, target)
    except OSError as error:
        raise InputError(
            f"the folder to publish cannot be written to {str(target)!r} ({error.strerror or error}): make room, or "
            "set TMPDIR to a folder of another disk"
        ) from error


def auto_map(config: PreTrainedConfig) -> dict[str, str]:
    """The registered classes of a configuration, by Auto class, in the form of a config.json."""
    found: dict[str, Any] = {
        "AutoConfig": type(config),
        "AutoModel": MODEL_MAPPING.get(type(config), None),
        "AutoModelForImageClassification": MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING.get(type(config), None),
    }
    return {name: _reference(kind) for name, kind in found.items() if kind is not None}


def custom_pipelines() -> dict[str, Any]:
    """The pipelines defined in `sct_hf.model`, by task, in the form of a config.json."""
    return {
        task: {
            "impl": _reference(info["impl"]),
            "pt": [model.__name__ for model in info["pt"]],
            "type": info["type"],
        }
        for task, info in PIPELINE_REGISTRY.supported_tasks.items()
        if isinstance(info["impl"], type) and info["impl"].__module__.startswith(_PACKAGE)
    }


def _reference(kind: type) -> str:
    """A class in the form of configuration files: file and class."""
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


def _copy_json(source: Path, folder: Path, **added: Any) -> None:
    content = json.loads(source.read_text(encoding="utf-8")) | added
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / source.name).write_text(text + "\n", encoding="utf-8")


def _check_image(path: Path) -> None:
    try:
        with Image.open(path) as image:
            image.verify()
    except Exception as error:  # broken files make Pillow's decoders raise almost anything
        raise InputError(f"examples: {str(path)!r} cannot be read as an image ({error})") from error


def _check_alone(run: TrainedRun, folder: Path) -> None:
    """Load the folder in a process without this package, and compare its scores of an image with this process's."""
    height, width = run.model.config.input_size
    noise = np.random.default_rng(0).integers(0, 256, (height + 7, width + 13, 3), dtype=np.uint8)
    scratch = folder.with_name(folder.name + "-check")
    file, output = scratch / "image.png", scratch / "scores.safetensors"
    try:
        scratch.mkdir()
        image = Image.fromarray(noise)
        image.save(file)
        reason = run_alone("load_alone.py", folder, file, output, folder=scratch)
        if reason:
            raise InputError(f"folder is {str(run.folder)!r}, which does not load without sct_hf: {reason}")
        alone = load_file(output)["scores"]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    here = torch.from_numpy(score_images(run.model, run.processor, [image])[0][0])
    apart = (alone - here).abs().max().item()
    if not apart <= _TOLERANCE:
        raise InputError(
            f"folder is {str(run.folder)!r}, whose scores without sct_hf differ by {apart:.2g}: its configuration "
            "does not tell all that the model needs"
        )
