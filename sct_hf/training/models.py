"""The model of a run: made from arguments, put into training mode, and saved."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn

from sct_hf.factory import build_model, image_processor
from sct_hf.files import atomic_write
from sct_hf.label_text.encoders import encode_labels
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification
from sct_hf.peers.modeling_peer import PeerForMultiLabelClassification
from sct_hf.training.arguments import Arguments

TaggingModel = SCTForMultiLabelClassification | PeerForMultiLabelClassification


def new_model(arguments: Arguments, label_names: list[str], accelerator: Accelerator) -> TaggingModel:
    """Build the model, its backbone frozen and laid out as the arguments say."""
    model_arguments, train = arguments.model, arguments.train
    with accelerator.main_process_first():
        label_text = None
        if model_arguments.head == "sct":
            encoder, template = model_arguments.label_encoder, model_arguments.label_template
            label_text = encode_labels(label_names, encoder, template=template, seed=train.seed)
        set_seed(train.seed)
        model = build_model(
            model_arguments.backbone,
            label_names,
            image_size=model_arguments.input_size,
            head=model_arguments.head,
            backbone_weights=model_arguments.backbone_weights,
            label_text=label_text,
            **model_arguments.config_options(model_arguments.head),
        )
    if train.freeze_backbone:
        model.backbone.requires_grad_(False)
    if train.channels_last:
        model.backbone.to(memory_format=torch.channels_last)
    return model


def set_train_mode(model: nn.Module, bare: TaggingModel, freeze_backbone: bool, freeze_batch_norm: bool) -> None:
    """Put a model in training mode, but what is frozen of its backbone in evaluation mode."""
    model.train()
    if freeze_backbone:
        bare.backbone.eval()
    elif freeze_batch_norm:
        for module in bare.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def save_model(model: TaggingModel, folder: Path) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json, each whole or not at all."""
    with TemporaryDirectory(dir=folder, prefix=".model-") as temporary:
        model.save_pretrained(temporary)
        image_processor(model.config).save_pretrained(temporary)
        for file in Path(temporary).iterdir():
            with atomic_write(folder / file.name) as target:
                os.replace(file, target)
