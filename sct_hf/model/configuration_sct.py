"""Configuration of SCT: what a checkpoint's `config.json` holds."""

import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .label_parents_sct import ancestors, check_label_parents, rename_label_parents

_LABEL_LOSSES = ("gamma_neg", "gamma_pos", "positive_weight", "logit_shift")
_OF_LABELS = ("thresholds", "label_text", "label_losses", "label_parents", "hierarchy_loss_weight")


def _require(holds: bool, field: str, value: object, remedy: str) -> None:
    if not holds:
        raise ValueError(f"{field}={value!r} cannot be used: {remedy}.")


def write_code(config: PreTrainedConfig, folder: str | os.PathLike[str]) -> None:
    """Write the code that a checkpoint needs where this package is not: all files beside this one, named `*_sct.py`.

    The file of a configuration class from elsewhere joins them; its model is expected in it. There
    `from sct_hf.model.x_sct import y` becomes `from .x_sct import y`, since all files then lie in one folder.

    Args:
        config: Configuration of the checkpoint.
        folder: Where the checkpoint lies.
    """
    files = {*Path(__file__).parent.glob("*_sct.py"), Path(str(sys.modules[type(config).__module__].__file__))}
    package = re.escape(__name__.rpartition(".")[0])
    for path in files:
        code = path.read_text(encoding="utf-8")
        relative = re.sub(rf"^(\s*)from {package}\.(\w+) import", r"\1from .\2 import", code, flags=re.MULTILINE)
        Path(folder, path.name).write_text(relative, encoding="utf-8")


def _by_index(id2label: dict[Any, str]) -> dict[int, str]:
    return {int(index): name for index, name in id2label.items()}


@strict
class BackboneConfig(PreTrainedConfig):
    """What every image tagger on a timm backbone needs: images, backbone, labels and the classification loss.

    Args:
        backbone (`str`, *optional*, defaults to `"resnet101"`):
            Name of any timm model that gives a feature map or tokens (kin: ResNet-101).
        backbone_kwargs (`dict`, *optional*):
            Further arguments of `timm.create_model`.
        image_size (`int` or `list[int]`, *optional*, defaults to 448):
            Side of the square input in pixels, or `[height, width]`.
        num_channels (`int`, *optional*, defaults to 3):
            Channels of the input.
        image_mean (`list[float]`, *optional*, defaults to ImageNet's):
            Mean of each channel, of pixels in [0, 1].
        image_std (`list[float]`, *optional*, defaults to ImageNet's):
            Standard deviation of each channel, of pixels in [0, 1].
        gamma_neg (`float`, *optional*, defaults to 2.0):
            Focusing exponent of the asymmetric loss for absent labels (kin: 2).
        gamma_pos (`float`, *optional*, defaults to 0.0):
            Focusing exponent for present labels (kin: 0).
        clip (`float`, *optional*, defaults to 0.0):
            Probability under which an absent label costs nothing (kin: 0).
        label_losses (`dict[str, list[float]]`, *optional*):
            Settings of the asymmetric loss for each label, in the order of the logits, for unbalanced labels: any of
            `"gamma_neg"` and `"gamma_pos"` in place of the numbers above, `"positive_weight"`, and `"logit_shift"`,
            which is added to the logits in the loss alone (ours). scripts/train.py makes them of the training
            targets and leaves them out of the checkpoint.
        thresholds (`list[float]`, *optional*):
            Least score of each label to count as a tag, in the order of the logits; 0.5 for all if not given (ours).
        label_parents (`dict[str, list[str]]`, *optional*):
            A hierarchy of the labels, {label: its parents}. In evaluation a parent's logit is then the highest among
            its own and those of all labels below it (C-HMCNN, Giunchiglia & Lukasiewicz, NeurIPS 2020).
        hierarchy_loss_weight (`float`, *optional*, defaults to 0.0):
            Weight of that paper's loss, by the asymmetric loss, of logits so raised (ours: beside the other losses).
    """

    backbone: str = "resnet101"
    backbone_kwargs: dict[str, Any] | None = None
    image_size: int | list[int] | tuple[int, ...] = 448
    num_channels: int = 3
    image_mean: list[float] | tuple[float, ...] = (0.485, 0.456, 0.406)
    image_std: list[float] | tuple[float, ...] = (0.229, 0.224, 0.225)
    gamma_neg: float | int = 2.0
    gamma_pos: float | int = 0.0
    clip: float | int = 0.0
    label_losses: dict[str, list[float]] | None = None
    thresholds: list[float] | None = None
    label_parents: dict[str, list[str]] | None = None
    hierarchy_loss_weight: float | int = 0.0

    def __post_init__(self, **kwargs: Any) -> None:
        self.problem_type = self.problem_type or "multi_label_classification"
        if self.id2label is not None and self.label2id is None:
            self.label2id = {name: int(index) for index, name in self.id2label.items()}
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As `PreTrainedConfig.from_dict`; what belongs to the labels goes where another number replaces them.

        Other names for as many labels are names of the same ones, in the hierarchy too.
        """
        names = kwargs.get("id2label")
        count = kwargs.get("num_labels") if names is None else len(names)
        former = config_dict.get("id2label") or {}
        if count not in (None, len(former)):
            config_dict = {key: config_dict[key] for key in config_dict if key not in _OF_LABELS}
        elif names is not None and config_dict.get("label_parents"):
            new_name = {name: _by_index(names).get(int(index), name) for index, name in former.items()}
            renamed = rename_label_parents(config_dict["label_parents"], new_name)
            config_dict = config_dict | {"label_parents": renamed, "id2label": names, "label2id": None}
        return super().from_dict(config_dict, **kwargs)

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the input in pixels."""
        size = self.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(height), int(width)

    @property
    def label_names(self) -> list[str]:
        """The labels' names, in the order of the logits."""
        names = _by_index(self.id2label or {})
        return [names[index] for index in sorted(names)]

    def validate_image(self) -> None:
        """Raise `ValueError` for an input size, mean or deviation that cannot be used."""
        size = self.image_size
        sides: Sequence[int] = [size, size] if isinstance(size, int) else size
        _require(len(sides) == 2 and min(sides) > 0, "image_size", size, "give one side or [height, width] > 0")
        for field in ("image_mean", "image_std"):
            values = getattr(self, field)
            _require(len(values) == self.num_channels, field, values, f"give {self.num_channels} numbers")

    def validate_asymmetric_loss(self) -> None:
        """Raise `ValueError` for exponents or a clip of the asymmetric loss that cannot be used."""
        for field in ("gamma_neg", "gamma_pos"):
            _require(getattr(self, field) >= 0, field, getattr(self, field), "give a number >= 0")
        _require(0 <= self.clip < 1, "clip", self.clip, "give a number in [0, 1)")

    def validate_label_losses(self) -> None:
        """Raise `ValueError` for losses of labels by an unknown name, of another number, or out of range."""
        count = len(self.label_names)
        for name, values in (self.label_losses or {}).items():
            _require(name in _LABEL_LOSSES, "label_losses", name, f"name {', '.join(_LABEL_LOSSES)}")
            _require(len(values) == count, f"label_losses[{name!r}]", values, f"give one number for each of {count}")
            signed = name == "logit_shift"
            holds = all(math.isfinite(value) and (signed or value >= 0) for value in values)
            _require(holds, f"label_losses[{name!r}]", values, f"give finite numbers{'' if signed else ' >= 0'}")

    def validate_thresholds(self) -> None:
        """Raise `ValueError` for thresholds of another number than the labels, or outside [0, 1]."""
        values = self.thresholds
        _require(
            values is None or (len(values) == len(self.label_names) and all(0 <= value <= 1 for value in values)),
            "thresholds",
            values,
            f"give one number in [0, 1] for each of the {len(self.label_names)} labels, or none for 0.5",
        )

    def validate_hierarchy(self) -> None:
        """Raise `ValueError` for a hierarchy of other labels, in a circle, or at odds with the thresholds."""
        weight, parents = self.hierarchy_loss_weight, self.label_parents
        _require(weight >= 0, "hierarchy_loss_weight", weight, "give a number >= 0")
        _require(weight == 0 or bool(parents), "hierarchy_loss_weight", weight, "it needs label_parents")
        if not parents:
            return
        check_label_parents(parents, self.label_names)
        if self.thresholds is None or len(self.thresholds) != len(self.label_names):
            return
        threshold_of = dict(zip(self.label_names, self.thresholds, strict=True))
        for name, above in ancestors(parents).items():
            for parent in above:
                _require(
                    threshold_of[parent] <= threshold_of[name],
                    "thresholds",
                    self.thresholds,
                    f"a tag's parents are tags too, so {parent!r} needs one of {threshold_of[name]} or less, that of "
                    f"{name!r} below it",
                )

    def validate_label_maps(self) -> None:
        """Raise `ValueError` if `id2label` and `label2id` do not name the same labels, each once."""
        indices = {int(index): name for name, index in (self.label2id or {}).items()}
        _require(
            indices == self.id2label and sorted(indices) == list(range(len(self.label_names))),
            "label2id",
            self.label2id,
            "make it the inverse of id2label, with indices from 0 and no label twice",
        )


@strict
class SCTConfig(BackboneConfig):
    """Configuration of `SCTModel` and `SCTForMultiLabelClassification`.

    In brackets, where each default comes from: the paper (arXiv 2507.14918), its kin CLSL (arXiv 2510.10055),
    the theory of conditional transport (arXiv 2012.14100), or this project ("ours"). The arguments of
    `BackboneConfig` come on top.

    Args:
        hidden_size (`int`, *optional*):
            Width D to which regions are projected; none keeps the backbone's width, as the kin does (ours).
        projection_norm (`bool`, *optional*, defaults to `True`):
            Adds a layer norm to that projection (ours).
        input_dropout (`float`, *optional*, defaults to 0.0):
            Dropout of the backbone's features before they are projected, for small sets of images (ours). A
            semantic map of them (`map_input`) sees them whole.
        label_embedding_size (`int`, *optional*, defaults to 768):
            Width of the label-text embeddings (kin: BERT-base).
        label_text (`dict`, *optional*):
            How the embeddings were made: encoder, template and normalised names.
        seen_labels (`list[str]`, *optional*):
            Names of the labels that the weights were trained on, where the checkpoint was given others since.
        normalize_label_embeddings (`bool`, *optional*, defaults to `True`):
            Whether each embedding is divided by its root mean square, so that text and image weigh alike whatever
            the text encoder's scale (ours).
        encoder_layers (`int`, *optional*, defaults to 1):
            Transformer encoder layers over the regions (kin: 1).
        encoder_attention_heads (`int`, *optional*, defaults to 8):
            Attention heads of each layer (kin: 8).
        encoder_ffn_dim (`int`, *optional*, defaults to 2048):
            Width of each layer's feed-forward block (kin: 2048).
        dropout (`float`, *optional*, defaults to 0.1):
            Dropout of the encoder layers (kin: 0.1).
        label_interaction (`bool`, *optional*, defaults to `False`):
            Adds a self-attention layer over the label features (ours).
        label_states (`bool`, *optional*, defaults to `False`):
            Whether labels that are known beforehand can be given (`known_labels` of `forward`), to inform the others:
            a learnt state embedding joins the features of labels known to be present or absent, and in training a part
            of the targets, drawn anew for each image, is known to the model and left out of all losses (C-Tran,
            CVPR 2021, by "label mask training"). Needs `label_interaction`, through which labels inform one another
            (ours; C-Tran has them attend to regions too).
        known_share_max (`float`, *optional*, defaults to 0.75):
            Largest share of an image's targets that is so drawn, in (0, 1] (C-Tran).
        label_graph (`bool`, *optional*, defaults to `False`):
            Adds messages between label features along a graph of how often labels are seen together in training, which
            the checkpoint holds (KGGR for the graph; the layer is ours, see `LabelMessages`).
        label_prototypes (`bool`, *optional*, defaults to `False`):
            Whether the checkpoint holds a prototype of each label in the backbone's feature space, made from the
            label's text and the backbone's own ImageNet classifier, and uses it as the next three fields say (ours).
        prototype_scale (`float`, *optional*, defaults to 0.5):
            Weight of the prototypes' scores in the semantic map (ours).
        prototype_temperature (`float`, *optional*, defaults to 0.05):
            Temperature of the plan that moves prototypes to regions (ours).
        prototype_pooling (`float`, *optional*, defaults to 0.5):
            Share of that plan in pooling the map, in aggregating region scores and in label pooling (ours).
        familiarity_threshold (`float`, *optional*, defaults to 0.8):
            Likeness, in [0, 1), of a new label's text to that of a label the weights were trained on, up to which its
            score rests on its prototype alone; up to a likeness of 1 what was learned joins in. 0 scores all labels by
            what was learned. Without prototypes, or for the labels of training, it has no part (ours).
        map_input (`"features"` or `"context"`, *optional*, defaults to `"features"`):
            Whether the semantic map looks at the backbone's features (ours) or at the encoder's output (kin).
            Prototypes live among the former.
        map_pooling (`"mean"` or `"max"`, *optional*, defaults to `"mean"`):
            How the map is pooled over regions (kin: max).
        fuse_map_scores (`bool`, *optional*, defaults to `True`):
            Whether the pooled map is averaged with a label's other logits (ours).
        label_pooling (`bool`, *optional*, defaults to `True`):
            Whether each label is also scored by the backbone's features that the backward plans bring it, and that
            logit averaged with the region logit (ours).
        aligned_features (`bool`, *optional*, defaults to `True`):
            Whether regions are joined by the label features that the forward plan brings them (ours for the plan).
        aligned_dropout (`float`, *optional*, defaults to 0.5):
            Share of the images that do without those in training (ours).
        guidance (`"prior"`, `"detached"` or `"none"`, *optional*, defaults to `"prior"`):
            How the semantic map guides transport: as log-prior, as log-prior without gradient, or not at all (ours).
        temperature (`float`, *optional*, defaults to 0.1):
            Initial temperature of the transport plans (ours).
        learn_temperature (`bool`, *optional*, defaults to `True`):
            Whether the temperature is trained (ours).
        rho (`float`, *optional*, defaults to 0.5):
            Share of the region → label direction in the transport cost (theory).
        scorer (`"linear"` or `"label"`, *optional*, defaults to `"linear"`):
            Scores by a vector a label (kin), or by vectors made of the labels' text and features, so that no weight
            depends on the number of labels (ours).
        scorer_dropout (`float`, *optional*, defaults to 0.5):
            Dropout before the region scores (kin: 0.5).
        semantic_loss_weight (`float`, *optional*, defaults to 0.8):
            λ₁, weight of the semantic map's classification loss (kin: 0.8).
        transport_loss_weight (`float`, *optional*, defaults to 0.1):
            λ₂, weight of the transport cost beside losses that are means over the known targets (ours).
        contrast_loss_weight (`float`, *optional*, defaults to 0.0):
            Weight of a contrast between the labels of a batch, on the image's part of the features that score
            pooled labels; needs `label_pooling` (after MulCon; features and weight are ours).
        contrast_temperature (`float`, *optional*, defaults to 0.1):
            Its temperature.
        erasing_loss_weight (`float`, *optional*, defaults to 0.0):
            Weight of the loss of images without the regions that one of their labels is seen by, beside that of
            whole images (after SRDL; by the backward plan, in the backbone's map: ours). Twice the head's cost in
            training.
        erasing_share (`float`, *optional*, defaults to 0.2):
            Share of the regions that are erased (ours).
    """

    model_type = "sct"
    keys_to_ignore_at_inference = ["losses"]

    hidden_size: int | None = None
    projection_norm: bool = True
    input_dropout: float | int = 0.0
    label_embedding_size: int = 768
    label_text: dict[str, Any] | None = None
    seen_labels: list[str] | None = None
    normalize_label_embeddings: bool = True
    encoder_layers: int = 1
    encoder_attention_heads: int = 8
    encoder_ffn_dim: int = 2048
    dropout: float | int = 0.1
    label_interaction: bool = False
    label_states: bool = False
    known_share_max: float | int = 0.75
    label_graph: bool = False
    label_prototypes: bool = False
    prototype_scale: float | int = 0.5
    prototype_temperature: float | int = 0.05
    prototype_pooling: float | int = 0.5
    familiarity_threshold: float | int = 0.8
    map_input: Literal["features", "context"] = "features"
    map_pooling: Literal["mean", "max"] = "mean"
    fuse_map_scores: bool = True
    label_pooling: bool = True
    aligned_features: bool = True
    aligned_dropout: float | int = 0.5
    guidance: Literal["prior", "detached", "none"] = "prior"
    temperature: float | int = 0.1
    learn_temperature: bool = True
    rho: float | int = 0.5
    scorer: Literal["linear", "label"] = "linear"
    scorer_dropout: float | int = 0.5
    semantic_loss_weight: float | int = 0.8
    transport_loss_weight: float | int = 0.1
    contrast_loss_weight: float | int = 0.0
    contrast_temperature: float | int = 0.1
    erasing_loss_weight: float | int = 0.0
    erasing_share: float | int = 0.2

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """As `PreTrainedConfig.save_pretrained`; a checkpoint that came with its code keeps it.

        transformers copies the code of classes that it read from a checkpoint, and not that of this package, although
        `auto_map` names it either way.
        """
        super().save_pretrained(save_directory, push_to_hub, **kwargs)
        if getattr(self, "auto_map", None):
            write_code(self, save_directory)

    def validate_widths(self) -> None:
        """Raise `ValueError` for widths or counts of layers that cannot be used."""
        hidden = self.hidden_size
        _require(hidden is None or hidden > 0, "hidden_size", hidden, "give a number > 0, or none for the backbone's")
        for field in ("label_embedding_size", "encoder_attention_heads", "encoder_ffn_dim"):
            _require(getattr(self, field) > 0, field, getattr(self, field), "give a number > 0")
        _require(self.encoder_layers >= 0, "encoder_layers", self.encoder_layers, "give a number >= 0")

    def validate_label_states(self) -> None:
        """Raise `ValueError` for states that no label would learn of, or a share of known labels out of range."""
        states, share = self.label_states, self.known_share_max
        _require(
            not states or self.label_interaction,
            "label_states",
            states,
            "labels inform one another by label_interaction; set label_interaction=True as well",
        )
        _require(0 < share <= 1, "known_share_max", share, "give a share in (0, 1]")

    def validate_prototypes(self) -> None:
        """Raise `ValueError` for prototypes beside a semantic map of other features than theirs."""
        _require(
            not self.label_prototypes or self.map_input == "features",
            "map_input",
            self.map_input,
            "prototypes live among the backbone's features; set map_input='features' or label_prototypes=False",
        )

    def validate_transport(self) -> None:
        """Raise `ValueError` for transport settings or loss weights that cannot be used."""
        for field in ("temperature", "prototype_temperature", "contrast_temperature"):
            _require(getattr(self, field) > 0, field, getattr(self, field), "give a number > 0")
        for field in ("rho", "prototype_pooling"):
            _require(0 <= getattr(self, field) <= 1, field, getattr(self, field), "give a number in [0, 1]")
        for field in ("input_dropout", "dropout", "scorer_dropout", "aligned_dropout", "familiarity_threshold"):
            _require(0 <= getattr(self, field) < 1, field, getattr(self, field), "give a number in [0, 1)")
        weights = ("semantic_loss_weight", "transport_loss_weight", "contrast_loss_weight", "erasing_loss_weight")
        for field in (*weights, "prototype_scale"):
            _require(getattr(self, field) >= 0, field, getattr(self, field), "give a number >= 0")

    def validate_training_options(self) -> None:
        """Raise `ValueError` for a contrast without what it contrasts, or a share that erases nothing or all."""
        weight = self.contrast_loss_weight
        _require(not weight or self.label_pooling, "contrast_loss_weight", weight, "it needs label_pooling=True")
        _require(0 < self.erasing_share < 1, "erasing_share", self.erasing_share, "give a number within (0, 1)")


__all__ = ["BackboneConfig", "SCTConfig", "write_code"]
