"""Tiny random image–text pairs of transformers, and their image towers as timm's."""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from transformers import BertTokenizerFast, CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "photo", "of", "dog", "cat", "red", "green", "blue", "white", "tv"]
JOINT = 12
WIDTH = 32
SIDE = 32
VIT: dict[str, Any] = {"embed_dim": WIDTH, "depth": 2, "num_heads": 2, "patch_size": 8}
RESNET: dict[str, Any] = {"width_factor": 0.0625}
_LAYERS = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": "gelu"}
_SMALL = _LAYERS | {"intermediate_size": 4 * WIDTH}
_TOKENS = {"vocab_size": len(WORDS), "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
_IMAGE = {"image_size": SIDE, "patch_size": 8}


def clip(folder: Path, seed: int = 0, width: int = JOINT) -> CLIPModel:
    """A tiny CLIP, saved to a folder with its tokenizer."""
    torch.manual_seed(seed)
    config = CLIPConfig(text_config=_SMALL | _TOKENS, vision_config=_SMALL | _IMAGE, projection_dim=width)
    return _saved(CLIPModel(config), folder)


def siglip(folder: Path) -> SiglipModel:
    """A tiny SigLIP, saved to a folder with a tokenizer that gives no mask, as the published ones."""
    torch.manual_seed(0)
    text = _SMALL | _TOKENS | {"max_position_embeddings": 48, "projection_size": WIDTH}
    return _saved(SiglipModel(SiglipConfig(text_config=text, vision_config=_SMALL | _IMAGE)), folder)


def _saved(model: Any, folder: Path) -> Any:
    with torch.no_grad():  # transformers starts biases and norms alike, which hides a wrong one
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    names = ["input_ids", "attention_mask"][: 1 if isinstance(model, SiglipModel) else 2]
    BertTokenizerFast(vocab=vocabulary, model_input_names=names).save_pretrained(folder)
    return model.eval()


def timm_vit(model: CLIPModel | SiglipModel) -> nn.Module:
    """The image tower of a pair as timm's ViT, with its projection or attention pool."""
    is_clip = isinstance(model, CLIPModel)
    name = "vit_base_patch16_clip_224" if is_clip else "vit_base_patch16_siglip_224"
    whole = timm.create_model(name, img_size=SIDE, num_classes=JOINT if is_clip else 0, **VIT).eval()
    theirs = {key.removeprefix("vision_model."): value for key, value in model.state_dict().items()}
    state = {}
    layers = {"self_attn.out_proj": "attn.proj", "layer_norm1": "norm1", "layer_norm2": "norm2"}
    layers |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    for block in range(2):
        for kind in ("weight", "bias"):
            here, there = f"blocks.{block}", f"encoder.layers.{block}"
            parts = [theirs[f"{there}.self_attn.{one}_proj.{kind}"] for one in "qkv"]
            state[f"{here}.attn.qkv.{kind}"] = torch.cat(parts)
            state |= {f"{here}.{mine}.{kind}": theirs[f"{there}.{other}.{kind}"] for other, mine in layers.items()}
    renamed = {"post_layernorm": "norm", "embeddings.patch_embedding": "patch_embed.proj"}
    renamed |= {"pre_layrnorm": "norm_pre"} if is_clip else {}
    for other, mine in renamed.items():
        state |= {f"{mine}{key.removeprefix(other)}": theirs[key] for key in theirs if key.startswith(other)}
    state["pos_embed"] = theirs["embeddings.position_embedding.weight"][None]
    if is_clip:
        state["cls_token"] = theirs["embeddings.class_embedding"][None, None]
        state |= {"head.weight": theirs["visual_projection.weight"], "head.bias": torch.zeros(JOINT)}
    else:
        state |= _siglip_pool(theirs)
    whole.load_state_dict(state)
    return whole


def _siglip_pool(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    state = {"attn_pool.latent": theirs["head.probe"]}
    for kind in ("weight", "bias"):
        query, keys_and_values = theirs[f"head.attention.in_proj_{kind}"].split([WIDTH, 2 * WIDTH])
        state |= {f"attn_pool.q.{kind}": query, f"attn_pool.kv.{kind}": keys_and_values}
        pairs = {"attention.out_proj": "proj", "layernorm": "norm", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
        state |= {f"attn_pool.{mine}.{kind}": theirs[f"head.{other}.{kind}"] for other, mine in pairs.items()}
    return state


def timm_resnet() -> nn.Module:
    """CLIP's ResNet of timm with its attention pool, random and narrow."""
    torch.manual_seed(0)
    whole = timm.create_model("resnet50_clip", img_size=SIDE, num_classes=JOINT, zero_init_last=False, **RESNET)
    with torch.no_grad():
        for parameter in whole.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return whole.eval()
