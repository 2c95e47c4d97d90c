"""The model card, made only from the files and figures of a run."""

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import timm
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from sct_hf.data.registry import dataset_title
from sct_hf.escaping import in_markdown, markdown_block, markdown_code
from sct_hf.hub.checks import TrainedRun
from sct_hf.hub.claims import BEGIN, END, Notes
from sct_hf.model.outputs_sct import label_thresholds
from sct_hf.name_lists import PRINTED, some
from sct_hf.options import default_of, options_of
from sct_hf.training.arguments import training_options
from sct_hf.training.localisation import METHODS
from sct_hf.training.model_settings import setting_word

TASK = "image-classification"
_TEMPLATE = Path(__file__).with_name("card_template.md")
_TAGS = ("multi-label-image-classification", "multi-label", "sct", "conditional-transport", "timm")
_LICENSE = "apache-2.0"
_SAMPLES = "https://huggingface.co/datasets/mishig/sample_images/resolve/main"
# How the template makes text of what is not its own.
_ESCAPES: Any = {"text": lambda value: in_markdown(str(value)), "code": lambda value: markdown_code(str(value))}
# Key of metrics.json → metric of the Hub.
_RESULTS = {
    **{"mAP": "mean_average_precision", "mAP_11point": "mean_average_precision"},
    **{"mAP_sklearn": "mean_average_precision", "CP": "precision", "CR": "recall", "CF1": "f1", "CF1_mean": "f1"},
    **{"OP": "precision", "OR": "recall", "OF1": "f1", "CF1_top3": "f1", "OF1_top3": "f1"},
    "exact_match": "exact_match",
}


def make_card(
    run: TrainedRun, repo_id: str, notes: Notes, *, examples: Sequence[str] = (), tasks: Sequence[str] = ()
) -> ModelCard:
    """Render the card of a run.

    Args:
        run: The run.
        repo_id: The repository, "OWNER/NAME".
        notes: The author's own part.
        examples: Paths in the repository of images for the Hub's widget; public samples if none.
        tasks: Names of the pipelines with code in the repository.
    """
    config, arguments, metrics = run.model.config, run.arguments, run.metrics
    thresholds = label_thresholds(config) or [0.5] * len(config.label_names)
    table = run.per_label.assign(threshold=thresholds)
    by_images = table.sort_values("positives", ascending=False, kind="stable")
    shown = table if len(table) <= PRINTED else by_images[:PRINTED]
    content = {
        "name": repo_id.split("/")[-1],
        "repo_id": repo_id,
        "backbone": config.backbone,
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "height": config.input_size[0],
        "width": config.input_size[1],
        "labels": shown.to_dict("records"),
        "label_count": len(table),
        "every_label": len(shown) == len(table),
        "own_thresholds": config.thresholds is not None,
        "dataset": _dataset_name(metrics["dataset"]),
        "metrics": metrics,
        "evaluation": run.evaluation,
        "evaluated": run.evaluation and _dataset_name(run.evaluation["dataset"]),
        "methods": METHODS,
        "decided": run.decisions,
        "fitted_on": run.decisions and _dataset_name(run.decisions["dataset"]),
        "calibrated": config.calibration is not None,
        "arguments": arguments,
        "command": markdown_block(_command(run.record["command"]), "bash"),
        "settings": _settings(arguments),
        "open_to_labels": config.scorer == "label",
        "versions": run.record["versions"],
        "notes": notes.text,
        "marks": (BEGIN, END),
        "tasks": tasks,
        "some": lambda names: some(names, PRINTED),
    }
    data = card_data(run, repo_id, notes, examples)
    return ModelCard.from_template(data, template_path=str(_TEMPLATE), percent=_percent, **_ESCAPES, **content)


def card_data(run: TrainedRun, repo_id: str, notes: Notes, examples: Sequence[str] = ()) -> ModelCardData:
    """The header of the card; arguments as in `make_card`."""
    arguments, metrics = run.arguments, run.metrics
    base = _base_model(arguments)
    dataset = metrics["dataset"]
    results = [
        EvalResult(
            task_type=TASK,
            task_name="Multi-label image classification",
            dataset_type=dataset,
            dataset_name=_dataset_name(dataset),
            dataset_split=metrics["split"],
            metric_type=kind,
            metric_name=name,
            metric_value=metrics[name],
        )
        for name, kind in _RESULTS.items()
        if metrics[name] is not None
    ]
    fields: dict[str, Any] = {
        "license": (base.license if base else None) or _LICENSE,
        "base_model": base.hf_hub_id if base else None,
        "datasets": [dataset] if "/" in dataset else None,
        "widget": _widget(repo_id, examples),
    }
    fixed: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": TASK,
        "tags": list(dict.fromkeys([*_TAGS, *(notes.metadata.get("tags") or [])])),
        "model_name": repo_id.split("/")[-1],
        "eval_results": results,
    }
    return ModelCardData(**fields | notes.metadata | fixed)


def _settings(arguments: dict[str, Any]) -> list[tuple[str, str]]:
    """Options on the card with their values in words: those always shown, then changed ones."""
    options = options_of(*training_options())
    shown = [name for name, (_, facts) in options.items() if facts.card == "always"]
    shown += [
        name
        for name, (one, facts) in options.items()
        if facts.card == "changed" and arguments.get(name, default_of(one)) != default_of(one)
    ]
    return [(name, _words(arguments[name])) for name in shown if arguments.get(name) is not None]


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(setting_word(name, one) for name, one in value.items())
    return _without_folder(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _base_model(arguments: dict[str, Any]) -> Any:
    """Facts of timm about the backbone's first weights; None for weights from elsewhere."""
    backbone = arguments["backbone"]
    if arguments["backbone_weights"] != "pretrained" or arguments["init_checkpoint"] or not timm.is_model(backbone):
        return None
    known = timm.get_pretrained_cfg(backbone)
    return known if known is not None and known.hf_hub_id else None


def _dataset_name(dataset: str) -> str:
    return dataset_title(dataset)


def _widget(repo_id: str, examples: Sequence[str]) -> list[dict[str, str]]:
    own = {PurePath(path).stem: f"https://huggingface.co/{repo_id}/resolve/main/{path}" for path in examples}
    samples = {name: f"{_SAMPLES}/{name}.jpg" for name in ("savanna", "football-match", "airport")}
    return [{"src": source, "example_title": title} for title, source in (own or samples).items()]


def _command(words: Sequence[str]) -> str:
    """The command without folders of this machine in its paths, one option per line."""
    parts: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        text = shlex.quote(f"{option}{equals}{_without_folder(value)}" if equals else word)
        parts += [" \\\n  " if word.startswith("--") else " ", text]
    return "".join(parts).strip()


def _without_folder(value: str) -> str:
    prefix, colon, path = value.rpartition(":")  # such as glove:PATH
    return f"{prefix}{colon}{PurePath(path).name}" if PurePath(path).is_absolute() else value


def _percent(value: float | None) -> str:
    return "–" if value is None or value != value else f"{100 * value:.1f}"
