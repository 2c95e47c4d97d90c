"""What all image taggers on a timm backbone share: loading, initialisation, checks of their input."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .configuration_sct import BackboneConfig
from .hierarchy_sct import LabelHierarchy, make_hierarchy
from .label_parents_sct import LabelParents, check_label_parents

_OF_LABELS = ("label_embeddings", "label_prototypes", "label_graph", "seen_embeddings")


class BackbonePreTrainedModel(PreTrainedModel):
    """What all taggers on a timm backbone share: initialisation, loading, checkpointing, checks of their input."""

    config: BackboneConfig
    backbone: Any
    hierarchy: LabelHierarchy | None  # of models that give logits
    label_text_lost = False  # another num_labels was loaded: the labels have no text until set_labels
    main_input_name = "pixel_values"
    input_modalities = ("image",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As `PreTrainedModel.from_pretrained`, but refuses a checkpoint without backbone or label embeddings.

        Where `num_labels` and `ignore_mismatched_sizes=True` put another number of labels on a checkpoint, what is
        bound to the former ones is drawn anew, their text too: give the model the new labels' by `set_labels`.

        Raises:
            ValueError: Weights that nothing else can make up for are missing.
        """
        loaded: Any = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        model, info = loaded
        missing = sorted(key for key in info["missing_keys"] if "backbone." in key or key.endswith(_OF_LABELS))
        if missing:
            raise ValueError(
                f"The checkpoint lacks {len(missing)} tensors of the backbone or of the labels, first "
                f"{', '.join(missing[:3])}: load one that was saved by save_pretrained, or make a new model."
            )
        model.label_text_lost = any(key.endswith("label_embeddings") for key, *_ in info["mismatched_keys"])
        return (model, info) if output_loading_info else model

    @property
    def dtype(self) -> torch.dtype:
        """That of the backbone's weights: the first parameter may be one that always stays float32."""
        return next(self.backbone.parameters()).dtype

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise what no checkpoint gave; timm's own weights are marked and stay."""
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
        """Return nothing: the input is an image."""
        return None

    def set_hierarchy(self, label_parents: LabelParents | None) -> None:
        """Give the labels a hierarchy, or take it away; weights and `config.thresholds` stay as they are.

        Args:
            label_parents (`dict[str, list[str]]`, *optional*): The parents of labels, by name; see `BackboneConfig`.
                Without it the weight of its loss becomes 0 as well.

        Raises:
            ValueError: It names what is no label, or goes in a circle.
        """
        check_label_parents(label_parents or {}, self.config.label_names)
        parents = {name: list(above) for name, above in (label_parents or {}).items()}
        self.config.label_parents = parents or None
        if not parents:
            self.config.hierarchy_loss_weight = 0.0
        hierarchy = make_hierarchy(self.config)
        self.hierarchy = None if hierarchy is None else hierarchy.to(self.device)

    def feature_map(self, pixel_values: Tensor | None, backbone_features: Tensor | None) -> Tensor:
        """The backbone's map (B, D₀, H, W) of images (B, channels, S_h, S_w), or the one given.

        Raises:
            ValueError: Not exactly one of the two is given, or its shape is wrong.
        """
        if pixel_values is not None and backbone_features is None:
            self._check_map("pixel_values", pixel_values, self.config.num_channels)
            return self.backbone(pixel_values)
        if backbone_features is not None and pixel_values is None:
            self._check_map("backbone_features", backbone_features, self.backbone.num_features)
            return backbone_features
        raise ValueError("Give either pixel_values or backbone_features.")

    @staticmethod
    def _check_map(name: str, tensor: Tensor, channels: int) -> None:
        if tensor.ndim != 4 or tensor.shape[1] != channels:
            raise ValueError(
                f"{name} have shape {tuple(tensor.shape)}, but (batch, {channels}, height, width) is needed."
            )

    def check_targets(self, labels: Tensor, batch_size: int) -> None:
        """Check the shape of targets (B, C).

        Raises:
            ValueError: A wrong shape.
        """
        shape = (batch_size, len(self.config.label_names))
        if tuple(labels.shape) != shape:
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}, but {shape} is needed: one target a label of "
                f"{self.config.label_names[:5]}…, 1 present, 0 absent, −1 or NaN unknown."
            )


__all__ = ["BackbonePreTrainedModel"]
