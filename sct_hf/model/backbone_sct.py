"""Any timm model as a source of region features."""

import difflib
from typing import Any

import timm
import torch
from torch import Tensor, nn

from .configuration_sct import BackboneConfig


class TimmBackbone(nn.Module):
    """A timm model without pooling and classifier, whose output is always a feature map (kin: ResNet; any: ours).

    Weights are timm's random ones, made by `config` alone; a factory or `from_pretrained` loads others.

    Args:
        config (`BackboneConfig`): Names the timm model, its arguments and the input size.

    Attributes:
        num_features (`int`): Width D₀ of the feature map.

    Raises:
        ValueError: timm knows no such model, or the model cannot be made for this input size.
    """

    timm_model: Any

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.name = config.backbone
        if not timm.is_model(self.name):
            near = difflib.get_close_matches(self.name, timm.list_models(), n=5, cutoff=0.5)
            hint = f"the nearest names are {', '.join(near)}" if near else "see timm.list_models()"
            raise ValueError(f"backbone={self.name!r} is not a timm model: {hint}.")
        # A distilled ViT insists on its own pooling; only its tokens are used here.
        arguments: dict[str, Any] = {} if "distilled" in self.name else {"global_pool": ""}
        pretrained_config = timm.get_pretrained_cfg(self.name)
        self.fixed_size = config.input_size if pretrained_config and pretrained_config.fixed_input_size else None
        if self.fixed_size is not None:
            arguments["img_size"] = self.fixed_size
        arguments |= {"in_chans": config.num_channels, "num_classes": 0} | (config.backbone_kwargs or {})
        try:
            self.timm_model = timm.create_model(self.name, pretrained=False, **arguments)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"backbone={self.name!r} cannot be made with image_size={config.image_size}, "
                f"backbone_kwargs={config.backbone_kwargs}: {error}"
            ) from error
        if arguments.get("dynamic_img_size"):
            self.fixed_size = None
        self.num_features: int = getattr(self.timm_model, "head_hidden_size", self.timm_model.num_features)
        self.num_prefix_tokens: int = getattr(self.timm_model, "num_prefix_tokens", 0)
        self._mark_initialised()

    def _mark_initialised(self) -> None:
        """Keep transformers' initialisation off the weights that timm has just drawn."""
        for tensor in (*self.timm_model.parameters(), *self.timm_model.buffers()):
            if tensor.device.type != "meta":
                tensor._is_hf_initialized = True

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Compute the feature map.

        Args:
            pixel_values (`Tensor` of shape (B, channels, S_h, S_w)): Normalised images, any float dtype.

        Returns:
            `Tensor` of shape (B, D₀, H, W) in the weights' dtype.

        Raises:
            ValueError: The images' size is not the one that the backbone was made for.
        """
        size = (pixel_values.shape[-2], pixel_values.shape[-1])  # no int(): an exported graph may leave it open
        if self.fixed_size is not None and size != self.fixed_size:
            raise ValueError(
                f"pixel_values are {size[0]}×{size[1]}, but {self.name} was made for "
                f"{self.fixed_size[0]}×{self.fixed_size[1]}: resize them, or set image_size, or "
                "backbone_kwargs={'dynamic_img_size': True} where the backbone knows it."
            )
        pixel_values = pixel_values.to(next(self.timm_model.parameters()).dtype)
        features = (
            self.timm_model.forward_features(pixel_values)
            if "distilled" in self.name
            else self.timm_model(pixel_values)
        )
        if features.ndim == 3:  # (B, prefix + H·W, D₀)
            return self._tokens_to_map(features[:, self.num_prefix_tokens :], size)
        if features.shape[1] != self.num_features or getattr(self.timm_model, "output_fmt", None) == "NHWC":
            features = features.permute(0, 3, 1, 2)
        return features  # (B, D₀, H, W)

    def _tokens_to_map(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        count = tokens.shape[1]
        height = round((count * size[0] / size[1]) ** 0.5)
        width = count // height
        if height * width != count:
            raise ValueError(f"{self.name} gives {count} tokens for {size[0]}×{size[1]} pixels, which is no grid.")
        return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, height, width)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the backbone's activations in the backward pass, to save memory."""
        self.timm_model.set_grad_checkpointing(enable)

    def check_input_size(self, height: int, width: int, channels: int) -> None:
        """Run one blank image through the backbone.

        Args:
            height (`int`): In pixels.
            width (`int`): In pixels.
            channels (`int`): Channels of the image.

        Raises:
            ValueError: The backbone cannot take the size.
        """
        size = height if height == width else [height, width]
        was_training = self.training
        try:
            with torch.no_grad():
                grid = self.eval()(torch.zeros(1, channels, height, width)).shape[-2:]
            usable = min(grid) > 0
        except (AssertionError, RuntimeError) as error:
            raise ValueError(f"image_size={size} does not suit {self.name}: {error}") from error
        finally:
            self.train(was_training)
        if not usable:
            raise ValueError(f"image_size={size} leaves {self.name} no region: give a larger one.")


def capability(model: nn.Module, name: str) -> bool:
    """Whether a model, also one behind `torch.compile` or an adapter of PEFT, can do something.

    Args:
        model (`nn.Module`): The model, or what wraps it.
        name (`str`): `"gives_maps"`, `"takes_new_labels"` or `"takes_known_labels"`; other models can do none of it.
    """
    inner: Any = model
    while not hasattr(inner, name):
        wrapped = (
            getattr(inner, "_orig_mod", None) or getattr(inner, "base_model", None) or getattr(inner, "model", None)
        )
        if wrapped is None or wrapped is inner:
            return False
        inner = wrapped
    return bool(getattr(inner, name))


__all__ = ["TimmBackbone", "capability"]
