"""Any timm model as a source of region features, and the base of all image taggers on such a backbone."""

import difflib
import math
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .configuration_sct import BackboneConfig
from .hierarchy_sct import LabelHierarchy, LabelParents, check_label_parents, make_hierarchy


class TimmBackbone(nn.Module):
    """A timm model without pooling and classifier, whose output is always a feature map.

    The weights are timm's random initialisation; a factory or `from_pretrained` loads others.

    Args:
        config (`BackboneConfig`): Source of the timm model's name, its arguments and the input size.

    With `feature_levels=2` the map also carries the finer level, of half the stride: the four vectors of width D_f in
    each region follow its own D₀ values, so that caches and `backbone_features` hold one tensor (see `split_levels`).

    Attributes:
        num_features (`int`): Width D₀ of a region.
        fine_features (`int`): Width D_f of the finer level, or 0.
        map_features (`int`): Channels of the map, D₀ + 4·D_f.

    Raises:
        ValueError: timm has no such model, or cannot make it for this input size.
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
        except Exception as error:  # timm's models take arguments of any kind, and fail in as many ways
            if "pool" in str(error):
                raise ValueError(f"{_no_map(self.name)} ({error}).") from error
            raise ValueError(
                f"backbone={self.name!r} cannot be made with image_size={config.image_size}, "
                f"backbone_kwargs={config.backbone_kwargs!s:.200}: {error}"
            ) from error
        if arguments.get("dynamic_img_size"):
            self.fixed_size = None
        self.num_features: int = getattr(self.timm_model, "head_hidden_size", self.timm_model.num_features)
        self.num_prefix_tokens: int = getattr(self.timm_model, "num_prefix_tokens", 0)
        levels = getattr(config, "feature_levels", 1)
        self.fine_features, self._fine_stage = self._finer_stage() if levels > 1 else (0, 0)
        self.map_features = self.num_features + 4 * self.fine_features
        self._mark_initialised()

    def _mark_initialised(self) -> None:
        """Protect the weights that timm initialised from transformers' initialisation."""
        for tensor in (*self.timm_model.parameters(), *self.timm_model.buffers()):
            if tensor.device.type != "meta":
                tensor._is_hf_initialized = True

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Compute the feature map.

        Args:
            pixel_values (`Tensor` of shape (B, channels, S_h, S_w)): Normalised images, any float dtype.

        Returns:
            `Tensor` of shape (B, D₀ + 4·D_f, H, W) in the weights' dtype.

        Raises:
            ValueError: The images do not have the size that the backbone was made for.
        """
        size = (pixel_values.shape[-2], pixel_values.shape[-1])  # no int(): an exported graph may leave it open
        if self.fixed_size is not None and size != self.fixed_size:
            raise ValueError(
                f"pixel_values are {size[0]}×{size[1]}, but {self.name} was made for "
                f"{self.fixed_size[0]}×{self.fixed_size[1]}: resize them, or set image_size, or "
                "backbone_kwargs={'dynamic_img_size': True} where the backbone knows it."
            )
        pixel_values = pixel_values.to(next(self.timm_model.parameters()).dtype)
        if self.fine_features:
            last, (fine,) = self.timm_model.forward_intermediates(pixel_values, [self._fine_stage], output_fmt="NCHW")
            return join_levels(self._as_map(self.timm_model.forward_head(last), size), fine)
        whole = self.timm_model.forward_features if "distilled" in self.name else self.timm_model
        return self._as_map(whole(pixel_values), size)

    def _finer_stage(self) -> tuple[int, int]:
        """Width and number of the last stage with half the stride of the map.

        Raises:
            ValueError: The backbone has none.
        """
        stages = [] if self.num_prefix_tokens else getattr(self.timm_model, "feature_info", [])
        found = [n for n, stage in enumerate(stages) if 2 * stage["reduction"] == stages[-1]["reduction"]]
        if not found or not hasattr(self.timm_model, "forward_intermediates"):
            raise ValueError(
                f"feature_levels=2 cannot be used with backbone={self.name!r}, which has no stage of half the stride: "
                "give 1 (in training --set feature_levels=1), or a backbone such as resnet50 or tf_efficientnet_lite0."
            )
        return int(stages[found[-1]]["num_chs"]), found[-1]

    def _as_map(self, features: Any, size: tuple[int, int]) -> Tensor:
        """What timm gives for images of a size, as a map (B, D₀, H, W)."""
        if not isinstance(features, Tensor):
            raise ValueError(f"{_no_map(self.name)}: it gives {len(features)} of them.")
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
            raise ValueError(
                f"{_no_map(self.name)}: it gives {count} tokens for {size[0]}×{size[1]} pixels, which is no grid."
            )
        return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, height, width)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the backbone's activations in the backward pass, which saves memory."""
        self.timm_model.set_grad_checkpointing(enable)

    def check_input_size(self, height: int, width: int, channels: int) -> None:
        """Run one blank image through the backbone.

        Args:
            height (`int`): In pixels.
            width (`int`): In pixels.
            channels (`int`): Channels of the image.

        Raises:
            ValueError: The backbone does not accept this size.
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
            raise ValueError(
                f"image_size={size} is too small for {self.name}: it leaves no region. Give a larger one."
            )


def join_levels(features: Tensor, fine: Tensor | None) -> Tensor:
    """A map (B, D₀, H, W) and a finer one (B, D_f, h, w), if any, as one map (B, D₀ + 4·D_f, H, W).

    A finer map of another size than (2·H, 2·W), as of odd images, is resized bilinearly.
    """
    if fine is None:
        return features
    height, width = features.shape[-2:]
    known = all(isinstance(side, int) for side in fine.shape[-2:])  # not in an exported graph for any size
    if not known or fine.shape[-2:] != (2 * height, 2 * width):
        fine = F.interpolate(fine, (2 * height, 2 * width), mode="bilinear", align_corners=False)
    return torch.cat((features, F.pixel_unshuffle(fine, 2)), dim=1)


def split_levels(joined: Tensor, num_features: int) -> tuple[Tensor, Tensor | None]:
    """The inverse of `join_levels`: (B, D₀, H, W) and (B, D_f, 2·H, 2·W), or None if there is no finer map."""
    if joined.shape[1] == num_features:
        return joined, None
    return joined[:, :num_features], F.pixel_shuffle(joined[:, num_features:], 2)


def sine_positions(height: int, width: int, dim: int, device: torch.device | None = None) -> Tensor:
    """2-D sine position code of a grid (Carion et al., DETR, ECCV 2020).

    Coordinates start at 1 and are normalised to 2π at the last row and column. The first half of the channels codes y,
    the second half x, as interleaved sines and cosines with temperature 10,000.

    Args:
        height (`int`): Rows.
        width (`int`): Columns.
        dim (`int`): Channels, a multiple of 4.
        device (`torch.device`, *optional*): Device of the result.

    Returns:
        `Tensor` of shape (height · width, dim), float32.
    """
    half = dim // 2
    exponent = 2 * torch.div(torch.arange(half, device=device), 2, rounding_mode="floor") / half
    frequency = 10_000**-exponent  # (dim / 2,)

    def code(length: int) -> Tensor:
        step = torch.arange(1, length + 1, device=device, dtype=frequency.dtype)
        angle = step[:, None] * (2 * math.pi / step[-1]) * frequency  # length itself may be open in an exported graph
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=-1).flatten(1)  # (length, dim / 2)

    y = code(height)[:, None].expand(height, width, half)
    x = code(width)[None].expand(height, width, half)
    return torch.cat((y, x), dim=-1).flatten(0, 1)


def _no_map(name: str) -> str:
    return f"backbone={name!r} cannot be used, since timm makes no single feature map of it without pooling"


class BackbonePreTrainedModel(PreTrainedModel):
    """Base of all taggers on a timm backbone: initialisation, loading, checkpointing, input checks."""

    config: BackboneConfig
    backbone: Any
    hierarchy: LabelHierarchy | None  # of models that give logits
    label_text_lost = False  # another num_labels was loaded: the labels have no text until set_labels
    main_input_name = "pixel_values"
    input_modalities = ("image",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    gives_maps = False  # capabilities: see `capability`
    takes_new_labels = False
    takes_known_labels = False
    scores_in_parts = False

    def __init__(self, config: BackboneConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.num_labels = len(config.label_names)

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As `PreTrainedModel.from_pretrained`, but refuses a checkpoint without backbone or label embeddings.

        `num_labels` with `ignore_mismatched_sizes=True` changes the number of labels. All weights of the former labels
        are then initialised again, their text too; call `set_labels` with the new labels.

        Raises:
            ValueError: Weights of the backbone or the label embeddings are missing.
        """
        loaded: Any = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        model, info = loaded
        models = [(place, part) for place, part in model.named_modules() if isinstance(part, PreTrainedModel)]
        held = {
            f"{place}.{name}".lstrip(".") for place, part in models for name, _ in part.named_buffers(recurse=False)
        }
        missing = sorted(key for key in info["missing_keys"] if "backbone." in key or key in held)
        if missing:
            raise ValueError(
                f"The checkpoint lacks {len(missing)} tensors of the backbone or of the labels, first "
                f"{', '.join(missing[:3])}: load one that was saved by save_pretrained, or make a new model."
            )
        model.label_text_lost = any(key.endswith("label_embeddings") for key, *_ in info["mismatched_keys"])
        return (model, info) if output_loading_info else model

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the backbone's weights. The first parameter may be one that always stays float32."""
        return next(self.backbone.parameters()).dtype

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise weights that no checkpoint provided; timm's own are marked and stay."""
        if hasattr(module, "init_non_persistent_buffers"):
            cast(Any, module).init_non_persistent_buffers()
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    def _set_gradient_checkpointing(self, enable: bool = True, **kwargs: Any) -> None:  # type: ignore[override]
        self.backbone.set_grad_checkpointing(enable)
        if any(hasattr(module, "gradient_checkpointing") for module in self.modules()):
            super()._set_gradient_checkpointing(enable, **kwargs)

    def get_input_embeddings(self) -> None:  # type: ignore[override]
        """Return None: the input is an image, not token embeddings."""
        return None

    def observe_targets(self, targets: Tensor) -> None:
        """Read statistics from the training targets (N, C) before training. The default reads none."""

    def set_hierarchy(self, label_parents: LabelParents | None) -> None:
        """Set or remove the hierarchy of the labels; weights and `config.thresholds` stay.

        Args:
            label_parents (`dict[str, list[str]]`, *optional*): The parents of labels, by name; see `BackboneConfig`.

        Raises:
            ValueError: A name is not a label, or the hierarchy has a cycle.
        """
        check_label_parents(label_parents or {}, self.config.label_names)
        parents = {name: list(above) for name, above in (label_parents or {}).items()}
        self.config.label_parents = parents or None
        hierarchy = make_hierarchy(parents, self.config.label_names)
        self.hierarchy = None if hierarchy is None else hierarchy.to(self.device)

    def check_names(self, names: list[str], count: int, label_parents: LabelParents | None) -> None:
        """Check that there are `count` different label names, and that a hierarchy fits them.

        Raises:
            ValueError: A name repeats, the number differs, or the hierarchy has other names.
        """
        check_label_parents(label_parents or {}, names)
        if len(set(names)) != len(names):
            raise ValueError(f"names repeat {sorted({n for n in names if names.count(n) > 1})}: give each label once.")
        if len(names) != count:
            raise ValueError(
                f"{len(names)} names for a classifier that is bound to its {count} labels: give {count} names, or "
                "train with scorer='label', which takes any number."
            )

    def rename_labels(
        self, names: list[str], recipe: dict[str, Any] | None, label_parents: LabelParents | None
    ) -> None:
        """Put checked names into the configuration; fields of the former labels are removed."""
        self.config.thresholds = None
        self.config.id2label = dict(enumerate(names))
        self.config.label2id = {name: index for index, name in enumerate(names)}
        self.config.text_recipe = recipe
        self.num_labels, self.label_text_lost = len(names), False
        self.set_hierarchy(label_parents)

    def feature_map(self, pixel_values: Tensor | None, backbone_features: Tensor | None) -> Tensor:
        """The backbone's map (B, D₀ + 4·D_f, H, W) of images (B, channels, S_h, S_w), or the one given.

        Raises:
            ValueError: Not exactly one of the two is given, or its shape is wrong.
        """
        if pixel_values is not None and backbone_features is None:
            self._check_map("pixel_values", pixel_values, self.config.num_channels)
            return self.backbone(pixel_values)
        if backbone_features is not None and pixel_values is None:
            self._check_map("backbone_features", backbone_features, self.backbone.map_features)
            return backbone_features
        raise ValueError("Give either pixel_values or backbone_features.")

    @staticmethod
    def _check_map(name: str, tensor: Tensor, channels: int) -> None:
        if tensor.ndim != 4 or tensor.shape[1] != channels:
            raise ValueError(
                f"{name} have shape {tuple(tensor.shape)}, but (batch, {channels}, height, width) is needed."
            )

    def _wants_states(self, asked: bool | None) -> bool:
        return bool(self.config.output_hidden_states if asked is None else asked)

    def check_targets(self, labels: Tensor, shape: torch.Size) -> None:
        """Check the shape of targets against that of logits, (B, C).

        Raises:
            ValueError: A wrong shape.
        """
        if labels.shape != shape:
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}, but {tuple(shape)} is needed: one target a label of "
                f"{self.config.label_names[:5]}…, 1 present, 0 absent, −1 or NaN unknown."
            )


def capability(model: nn.Module, name: str) -> bool:
    """Whether a model has a capability, also behind `torch.compile` or a PEFT adapter.

    Args:
        model (`nn.Module`): The model, or its wrapper.
        name (`str`): `"gives_maps"`, `"takes_new_labels"`, `"scores_in_parts"` or `"takes_known_labels"`; other
            models have none of them.
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


__all__ = ["BackbonePreTrainedModel", "TimmBackbone", "capability", "join_levels"]
__all__ += ["sine_positions", "split_levels"]
