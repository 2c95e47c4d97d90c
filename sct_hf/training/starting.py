"""What a run takes from the checkpoint that it starts from: all of it with equal labels, else what both share.

The head must be the same, so that a weight keeps its meaning. A run with another head takes the backbone alone by
`--backbone_weights`, which does so for files of any origin.
"""

import copy
from collections import Counter
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sct_hf.errors import InputError
from sct_hf.label_text.encoders import SHUFFLED, encode_labels
from sct_hf.label_text.new_labels import prototypes_like
from sct_hf.label_text.vectors import LabelVectors
from sct_hf.label_text.words import label_words
from sct_hf.model.backbone_sct import BackbonePreTrainedModel
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification
from sct_hf.name_lists import some
from sct_hf.training.model_arguments import ModelArguments


def text_of_start(
    source: BackbonePreTrainedModel, names: list[str], options: ModelArguments, seed: int
) -> LabelVectors:
    """Text of the labels of a run that starts from `source`, made as the text of the labels there.

    Raises:
        InputError: The run's encoder or template is another one: shared weights would read text that they do not know.
    """
    there = _way(getattr(source.config, "text_recipe", None))
    seed = there.get("seed", there.get("shuffle_seed", seed))  # of random vectors
    vectors = encode_labels(names, options.label_encoder, template=options.label_template, seed=seed)
    here = _way(vectors.recipe)
    if there and source.config.label_names != names and there != here:
        name = next(name for name in {**there, **here} if there.get(name) != here.get(name))
        raise InputError(
            f"label_encoder={options.label_encoder!r}, label_template={options.label_template!r}: init_checkpoint is "
            f"{source.name_or_path!r}, whose label text has {name} {there.get(name)!r}, not {here.get(name)!r}. Give "
            f"the encoder and template that it was trained with ({there})"
        )
    return vectors


def prototypes_of_start(
    source: SCTForMultiLabelClassification, label_vectors: LabelVectors, options: ModelArguments
) -> Tensor | None:
    """Prototypes (C, D₀) of the labels of a run that starts from `source`; None if it has none.

    Those of other labels come from the classifier that reproduces the checkpoint's own.

    Raises:
        InputError: The run asks for prototypes and the checkpoint has none, or the reverse, or no such classifier is
            found.
    """
    wanted, held = options.label_prototypes, source.sct.label_prototypes
    if wanted not in (None, held is not None):
        raise InputError(
            f"label_prototypes is {wanted}, but init_checkpoint is {source.name_or_path!r}, which was trained "
            f"{'with' if held is not None else 'without'} them: leave label_prototypes out"
        )
    if held is None or source.config.label_names == label_vectors.names:
        return held
    own = source.sct.label_embeddings.float()
    every = torch.cat((own, label_vectors.embeddings))
    encoder = options.label_encoder.removeprefix(SHUFFLED)
    try:
        return prototypes_like(every, held, encoder, source.config, classifier_source(options))[len(own) :]
    except InputError as error:
        raise InputError(
            f"init_checkpoint is {source.name_or_path!r}, whose label prototypes cannot be made for other labels: "
            f"give --backbone_weights, the file of weights that its training began with. {error}"
        ) from error


def classifier_source(options: ModelArguments) -> str | None:
    """Where the classifier of label prototypes is to be looked for; None if that is left to `prototypes_like`.

    A run from a checkpoint takes no weights from `--backbone_weights`, so that only a file says something there.
    """
    by_name = options.backbone_weights in ("none", "pretrained", "package")
    return None if options.init_checkpoint and by_name else options.backbone_weights


def take_weights(source: BackbonePreTrainedModel, target: BackbonePreTrainedModel) -> str:
    """Copy weights of `source` into `target`, a model of the same kind and widths.

    With equal labels all weights and buffers are copied. With others, weights with a row for each label keep the rows
    of labels whose names are equal in words, and the buffers that belong to labels stay those of `target`.

    Returns:
        One line with what was taken.

    Raises:
        InputError: Head, backbone or widths differ.
    """
    there, here = source.config.label_names, target.config.label_names
    old, new = source.state_dict(), target.state_dict()
    kept = set() if there == here else _label_buffers(source) | _label_buffers(target)
    rows = {} if there == here else _rows(source) | _rows(target)
    _check_fit(source, target, kept | rows.keys())
    if there == here:
        target.load_state_dict(old)
        target.config.text_recipe = source.config.text_recipe
        return f"start from {source.name_or_path}: all weights"
    places = _places(there, here)
    to, origin = torch.tensor(list(places), dtype=torch.long), torch.tensor(list(places.values()), dtype=torch.long)
    remade = sorted(kept & new.keys())
    for name in [name for name in new if name not in kept]:
        axis = rows.get(name)
        if name not in rows:
            new[name].copy_(old[name])
        elif axis is not None and (old[name].shape[axis], new[name].shape[axis]) == (len(there), len(here)):
            new[name].index_copy_(axis, to, old[name].index_select(axis, origin))
        else:
            remade.append(name)
    fresh = [name for place, name in enumerate(here) if place not in places]
    told = f"start from {source.name_or_path}: took the backbone and the head"
    if rows.keys() - set(remade):
        told += f"; {len(places)} of {len(here)} labels have rows there"
        told += f"; fresh: {some(fresh)}" if fresh else ""
    return told + (f"; replaced: {', '.join(remade)}" if remade else "")


def _check_fit(source: BackbonePreTrainedModel, target: BackbonePreTrainedModel, of_labels: set[str]) -> None:
    """Refuse models of another kind, meaning or width; entries `of_labels` may differ."""
    names = ["model_type", *dict.fromkeys([*_meaning(source.config), *_meaning(target.config)])]
    reasons = [
        f"{name} is {getattr(source.config, name, None)!r} there and {getattr(target.config, name, None)!r} here"
        for name in names
        if _comparable(getattr(source.config, name, None)) != _comparable(getattr(target.config, name, None))
    ]
    old, new = source.state_dict(), target.state_dict()
    reasons += [
        f"{name} is {list(old[name].shape) if name in old else 'missing'} there and "
        f"{list(new[name].shape) if name in new else 'missing'} here"
        for name in sorted((old.keys() | new.keys()) - of_labels)
        if name not in old or name not in new or old[name].shape != new[name].shape
    ]
    if reasons:
        raise InputError(
            f"init_checkpoint is {source.name_or_path!r}, which does not fit this run: {'; '.join(reasons[:3])}. Give "
            "the same head, backbone and sizes as it was trained with; or give its model.safetensors as "
            "--backbone_weights, which takes the backbone alone"
        )


def _label_buffers(model: BackbonePreTrainedModel) -> set[str]:
    """Names of the buffers that belong to the labels: those that the models hold themselves, not a layer in them."""
    models = ((place, part) for place, part in model.named_modules() if isinstance(part, PreTrainedModel))
    return {f"{place}.{name}".lstrip(".") for place, part in models for name, _ in part.named_buffers(recurse=False)}


def _rows(model: BackbonePreTrainedModel) -> dict[str, int | None]:
    """Names of the entries whose shape hangs on the number C of labels, and the axis with one row a label, if any.

    They are those that differ in a model, made without memory, of 2·C + 1 labels.
    """
    names = model.config.label_names
    more = [*names, *(f"{max(names, key=len)}{number}" for number in range(len(names) + 1))]
    config = copy.deepcopy(model.config)
    for one in fields(config):
        if one.metadata.get("labels"):
            setattr(config, one.name, None)
    config.id2label, config.label2id = dict(enumerate(more)), {name: place for place, name in enumerate(more)}
    with torch.device("meta"):
        larger: dict[str, Tensor] = type(model)(config).state_dict()
    found: dict[str, int | None] = {}
    for name, tensor in model.state_dict().items():
        if name not in larger or larger[name].shape == tensor.shape:
            continue
        grown = [axis for axis, (a, b) in enumerate(zip(tensor.shape, larger[name].shape, strict=True)) if a != b]
        whole = len(grown) == 1 and (tensor.shape[grown[0]], larger[name].shape[grown[0]]) == (len(names), len(more))
        found[name] = grown[0] if whole else None
    return found


def _places(there: list[str], here: list[str]) -> dict[int, int]:
    """Places in `there` by place in `here`, of labels with the same words; words that a list has twice match none."""
    origin = _by_words(there)
    return {place: origin[words] for words, place in _by_words(here).items() if words in origin}


def _by_words(names: list[str]) -> dict[str, int]:
    words = [label_words(name) if any(map(str.isalnum, name)) else name for name in names]
    counts = Counter(words)
    return {each: place for place, each in enumerate(words) if counts[each] == 1}


def _way(recipe: dict[str, Any] | None) -> dict[str, Any]:
    """How text was made, without the labels that it was made of."""
    return {name: value for name, value in (recipe or {}).items() if name not in ("words", "prompts")}


def _meaning(config: BackboneConfig) -> list[str]:
    """Names of the fields that change what the same weights compute."""
    return [one.name for one in fields(config) if one.metadata.get("meaning")]


def _comparable(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
