"""The model of a run: made from arguments, put into training mode, and saved."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from timm.models import group_parameters
from torch import Tensor, nn
from transformers import AutoModelForImageClassification

from sct_hf.backbone_classifier import BackboneClassifier, load_backbone_classifier, with_names
from sct_hf.backbone_weights import load_backbone_weights
from sct_hf.data.shards.images import TrainingImages, listed
from sct_hf.errors import InputError
from sct_hf.factory import build_model, image_processor, needs_label_text
from sct_hf.files import PARTIAL, atomic_write
from sct_hf.label_text.class_words import encode_class_words
from sct_hf.label_text.encoders import SHUFFLED, encode_labels
from sct_hf.label_text.pair_prototypes import classifier_or_pair, prototypes_of_pair
from sct_hf.label_text.prototypes import (
    encode_classes,
    encode_label_classes,
    make_label_classes,
    make_label_prototypes,
)
from sct_hf.label_text.vectors import LabelVectors
from sct_hf.model.backbone_sct import BackbonePreTrainedModel
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification
from sct_hf.objectives.unknown_labels import assume_negative
from sct_hf.peers.backbone_classes import BackboneClassesHead
from sct_hf.peers.modeling_peer import PeerForMultiLabelClassification
from sct_hf.peers.registry import MODELS, holds_classes
from sct_hf.pretrained import load_pretrained
from sct_hf.training.arguments import Arguments
from sct_hf.training.model_arguments import ModelArguments
from sct_hf.training.starting import prototypes_of_start, take_weights, text_of_start

TaggingModel = SCTForMultiLabelClassification | PeerForMultiLabelClassification


def new_model(
    arguments: Arguments,
    label_names: list[str],
    accelerator: Accelerator,
    label_parents: dict[str, list[str]] | None = None,
) -> TaggingModel:
    """Build the model with its hierarchy of labels; freeze and lay out its backbone as the arguments ask."""
    model_arguments, train = arguments.model, arguments.train
    with accelerator.main_process_first():
        source = None
        if model_arguments.init_checkpoint:
            source = load_model(model_arguments.init_checkpoint, field="init_checkpoint")
        label_vectors = prototypes = class_vectors = None
        if needs_label_text(model_arguments.head) or holds_classes(model_arguments.head):
            if source:
                label_vectors = text_of_start(source, label_names, model_arguments, train.seed)
            else:
                encoder, template = model_arguments.label_encoder, model_arguments.label_template
                label_vectors = encode_labels(label_names, encoder, template=template, seed=train.seed)
            if holds_classes(model_arguments.head):
                prototypes, class_vectors = _label_classes(model_arguments, label_vectors, source)
            elif isinstance(source, SCTForMultiLabelClassification):
                prototypes = prototypes_of_start(source, label_vectors, model_arguments)
                class_vectors = source.sct.class_vectors
            elif model_arguments.head in MODELS:
                prototypes, class_vectors = _label_prototypes(arguments, label_vectors, accelerator)
        set_seed(train.seed)
        model = build_model(
            model_arguments.backbone,
            label_names,
            image_size=model_arguments.input_size,
            head=model_arguments.head,
            label_vectors=label_vectors,
            label_prototypes=prototypes,
            class_vectors=class_vectors,
            label_parents=label_parents,
            **model_arguments.config_options(model_arguments.head),
        )
        if source:
            accelerator.print(take_weights(source, model))
        else:
            timm_model, weights = model.backbone.timm_model, model_arguments.backbone_weights
            accelerator.print(load_backbone_weights(timm_model, model_arguments.backbone, weights))
    if train.freeze_backbone:
        model.backbone.requires_grad_(False)
    elif train.freeze_stages:
        _freeze_stages(model, train.freeze_stages)
    if train.channels_last:
        model.backbone.to(memory_format=torch.channels_last)
    return model


def _freeze_stages(model: TaggingModel, count: int) -> None:
    """Freeze the first stages of the backbone: the stem, then timm's coarse groups of layers."""
    timm_model = model.backbone.timm_model
    stages = group_parameters(timm_model, timm_model.group_matcher(coarse=True))
    if count >= len(stages):
        raise InputError(
            f"freeze_stages is {count}, but {model.config.backbone} has {len(stages)} stages: give fewer, or "
            "--freeze_backbone true"
        )
    for stage in sorted(stages)[:count]:
        for name in stages[stage]:
            timm_model.get_parameter(name).requires_grad_(False)


def _label_prototypes(
    arguments: Arguments, label_vectors: LabelVectors, accelerator: Accelerator
) -> tuple[Tensor | None, Tensor | None]:
    """Prototypes if asked for, or by default if they can be made: shares (C, K) of classes, and their vectors (K, D₀).

    Classes that have no words, and an image–text pair, give (C, D₀) and None.
    """
    options = arguments.model
    template = options.label_template
    if options.label_prototypes is False:
        return None, None
    try:
        given = options.set.get("backbone_kwargs")
        found = classifier_or_pair(options.backbone, options.backbone_weights, label_vectors, given)
        # The control gives the labels wrong text, and the classes theirs.
        encoder = options.label_encoder.removeprefix(SHUFFLED)
        if not isinstance(found, BackboneClassifier):
            accelerator.print(f"label prototypes from text, by the backbone's projection to width {len(found)}")
            return prototypes_of_pair(label_vectors, found, encoder, template=template), None
        class_text = encode_classes(found, encoder, template=template)
    except InputError as error:
        if options.label_prototypes:
            raise
        accelerator.print(f"trained without label prototypes: {error}")
        return None, None
    accelerator.print(f"label prototypes from the {len(found.class_names):,} ImageNet classes of the backbone")
    try:
        class_words = encode_class_words(found, encoder, template=template)
    except InputError as error:
        accelerator.print(f"label prototypes by the names of classes alone: {error}")
        class_words = None
    if class_words is None:
        return make_label_prototypes(label_vectors, class_text, found), None
    return make_label_classes(label_vectors, class_text, class_words), found.centred


def _label_classes(
    options: ModelArguments, label_vectors: LabelVectors, source: TaggingModel | None
) -> tuple[Tensor, Tensor]:
    """Shares (C, K) of classes and their vectors (K, D₀), for a head that cannot do without.

    The vectors are those of `source`, the checkpoint that the run starts from, if it has any.
    """
    held = getattr(source, "head", None)
    named = with_names(held.class_vectors) if isinstance(held, BackboneClassesHead) else None
    classifier = named or load_backbone_classifier(options.backbone, options.backbone_weights)
    encoder = options.label_encoder.removeprefix(SHUFFLED)
    shares = encode_label_classes(label_vectors, classifier, encoder, template=options.label_template)
    return shares, classifier.centred


def load_model(name: str, *, field: str) -> TaggingModel:
    """Load a checkpoint of SCT or of a peer head.

    Args:
        name: Its folder, or its name on the Hub.
        field: The argument that names it, for errors.

    Raises:
        InputError: It does not exist, cannot be read, or is of another kind.
    """
    if not Path(name).is_dir() and len(Path(name).parts) > 2:
        raise InputError(f"{field} is {name!r}: there is no such folder")
    try:
        model, found = load_pretrained(AutoModelForImageClassification, name, output_loading_info=True)
    except InputError as error:
        raise InputError(
            f"{field} is {name!r}, which cannot be loaded as a checkpoint: {error} Give the folder of a trained "
            "model, or its name on the Hub"
        ) from error
    if missing := sorted(found["missing_keys"]):
        raise InputError(
            f"{field} is {name!r}, which lacks {len(missing)} of its weights ({', '.join(missing[:3])}, …): give a "
            "whole checkpoint, of this version of sct_hf"
        )
    if not isinstance(model, TaggingModel):
        raise InputError(f"{field} is {name!r}, a {type(model).__name__}: give a checkpoint of SCT or of a peer head")
    return model


def observe_training(model: TaggingModel, images: TrainingImages, *, unknown_are_negative: bool) -> None:
    """Let a model read the training targets, if its class does; unknown ones may count as absent.

    Raises:
        InputError: It does, and the images are streamed.
    """
    if type(model).observe_targets is not BackbonePreTrainedModel.observe_targets:
        targets = torch.from_numpy(listed(images, f"head is {model.config.model_type!r}").targets())
        model.observe_targets(assume_negative(targets) if unknown_are_negative else targets)


def set_train_mode(objective: nn.Module, model: TaggingModel, freeze_backbone: bool, freeze_batch_norm: bool) -> None:
    """Set an objective to training mode, but frozen parts of its model's backbone to evaluation mode."""
    objective.train()
    if freeze_backbone:
        model.backbone.eval()
        return
    for module in model.backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            of_frozen_stage = module.weight is not None and not module.weight.requires_grad
            if freeze_batch_norm or of_frozen_stage:
                module.eval()


def round_weights(model: TaggingModel, save_dtype: str) -> None:
    """Round the weights as `save_model` does, so that figures belong to the saved file."""
    stored = _stored(model, save_dtype)
    for name, tensor in model.state_dict().items():
        tensor.copy_(stored[name])


def save_model(model: TaggingModel, folder: Path, save_dtype: str = "float32") -> None:
    """Write config.json, model.safetensors and preprocessor_config.json, each whole or not at all.

    Args:
        model: The model, in float32. config.json always says float32, so that it loads as float32.
        folder: The folder to write to.
        save_dtype: Number format, by its name in torch, of weights with at least two axes. Vectors (biases, norms and
            their statistics) stay in float32.
    """
    with TemporaryDirectory(dir=folder, prefix=f"{PARTIAL}model-") as temporary:
        model.save_pretrained(temporary, state_dict=_stored(model, save_dtype))
        image_processor(model.config).save_pretrained(temporary)
        for file in Path(temporary).iterdir():
            with atomic_write(folder / file.name) as target:
                os.replace(file, target)


def _stored(model: TaggingModel, save_dtype: str) -> dict[str, Tensor]:
    dtype = getattr(torch, save_dtype)
    return {
        name: tensor.to(dtype) if tensor.ndim > 1 and tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
