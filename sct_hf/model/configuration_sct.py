"""Configuration of SCT: the fields of a checkpoint's `config.json`."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from .hierarchy_sct import check_calibration, check_label_parents, check_thresholds, rename_label_parents

Config = TypeVar("Config")
Thresholds = list[float | int | None] | tuple[float | int | None, ...]
_SHOWN = 200  # characters of a value in an error
_LARGEST = 1e9  # no field of a usable model comes near it
_RANGES: dict[str, Callable[[Any], bool]] = {
    "> 0": lambda value: 0 < value <= _LARGEST,
    ">= 0": lambda value: 0 <= value <= _LARGEST,
    "in [0, 100]": lambda value: 0 <= value <= 100,
    "in [1, 2]": lambda value: 1 <= value <= 2,
    "in [0, 1]": lambda value: 0 <= value <= 1,
    "in [0, 1)": lambda value: 0 <= value < 1,
}


def config_field(default: Any, within: str | None = None, **marks: bool) -> Any:
    """A field with its range, one of `_RANGES`, and marks.

    `meaning`: it changes what the same weights compute. `labels`: it belongs to the labels. `made`: the code that
    builds the model sets it, not the user.
    """
    return field(default=default, metadata={**marks, "within": within})


def _require(holds: bool, name: str, value: object, remedy: str) -> None:
    if not holds:
        raise ValueError(f"{name}={_short(value)} cannot be used: {remedy}.")


def _short(value: object) -> str:
    """A value as Python writes it, cut where it is long or nested too deeply to be written."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        return f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _reason(error: Exception, kind: type, content: Any) -> str:
    """Why a configuration class refuses the content of a config.json: field, value and remedy."""
    found = re.search(r"^Validation error for field '(\w+)'", str(error))
    if isinstance(error, StrictDataclassError) and found:
        name = found[1]
        annotation = next((one.type for one in fields(kind) if one.name == name), "another type")
        wanted = annotation.__name__ if isinstance(annotation, type) else annotation
        return f"{name}={_short(content.get(name))} cannot be used: give {wanted}."
    root = error.__cause__ if isinstance(error, StrictDataclassError) and error.__cause__ else error
    if isinstance(root, ValueError):
        return str(root)
    return f"its fields cannot be used ({type(root).__name__}: {str(root)[:_SHOWN]}): take one that training wrote."


def write_code(config: PreTrainedConfig, folder: str | os.PathLike[str]) -> None:
    """Copy the code that a checkpoint needs without this package: all files named `*_sct.py` in this folder.

    If the configuration class is defined elsewhere, its file is copied too; the model must be in the same file. There
    `from sct_hf.model.x_sct import y` becomes `from .x_sct import y`, since all copies are in one folder, and the
    decorator `@register_head(…)` and its import are removed.

    Args:
        config: Configuration of the checkpoint.
        folder: Folder of the checkpoint.
    """
    package = re.escape(__name__.rpartition(".")[0])
    registration = rf"^from {__name__.partition('.')[0]}\.\S+ import register_\w+\n|^@register_\w+\(.*\)\n"
    for path in {*Path(__file__).parent.glob("*_sct.py"), Path(str(sys.modules[type(config).__module__].__file__))}:
        code = re.sub(registration, "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        code = re.sub(rf"^(\s*)from {package}\.(\w+) import", r"\1from .\2 import", code, flags=re.MULTILINE)
        Path(folder, path.name).write_text(code, encoding="utf-8")


def checked(kind: type[Config]) -> type[Config]:
    """A class decorator: As `strict`, but fields also accept numpy numbers and arrays, as plain numbers and lists."""
    made: Any = strict(kind)
    check = made.__setattr__
    made.__setattr__ = lambda self, name, value: check(self, name, _plain(value))
    return made


def _plain(value: Any) -> Any:
    if type(value).__module__ == "numpy":
        return value.tolist()
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return {name: _plain(each) for name, each in value.items()} if type(value) is dict else value


def _by_index(id2label: dict[Any, str]) -> dict[int, str]:
    return {int(index): name for index, name in id2label.items()}


_TRAINING = "it affected training alone: remove it from config.json, scores stay the same; see also train --help"
_FIXED = "this part is fixed since {}: leave it out; use sct_hf {} for such a checkpoint, or retrain"
_STRUCTURE, _NEWLY_FIXED = _FIXED.format("0.2", "0.1"), _FIXED.format("0.3", "0.2")


@checked
class BackboneConfig(PreTrainedConfig):
    """Configuration of any image tagger on a timm backbone: image, backbone, labels and classification loss.

    Args:
        backbone (`str`, *optional*, defaults to `"resnet101"`):
            Name of any timm model with a feature map or tokens.
        backbone_kwargs (`dict`, *optional*):
            Further arguments of `timm.create_model`.
        image_size (`int` or `list[int]`, *optional*, defaults to 448):
            Side of the square input in pixels, or `[height, width]`.
        image_mean, image_std (`list[float]`, *optional*, default to ImageNet's):
            Mean and standard deviation of each channel of the input, for pixels in [0, 1].
        gamma_neg (`float`, *optional*, defaults to 2.0):
            Focusing exponent of the asymmetric loss for absent labels.
        gamma_pos (`float`, *optional*, defaults to 0.0):
            Focusing exponent for present labels.
        clip (`float`, *optional*, defaults to 0.0):
            An absent label below this probability adds no loss.
        calibration (`dict[str, list[float]]`, *optional*):
            `"slope"` a > 0 and `"shift"` b of each label, in the order of the logits, which stay as they are: a score
            is sigmoid(a · logit + b).
        thresholds (`list[float]`, or `dict` of such lists by profile, *optional*):
            Threshold of each label; 0.5 for all if not given. A tag scores at least this. See
            `default_profile`. None in a profile: the label cannot keep what the profile promises, so it is no tag.
        label_parents (`dict[str, list[str]]`, *optional*):
            A hierarchy of the labels, {label: its parents}. In evaluation a parent's logit is the maximum of its own
            and those of its descendants (C-HMCNN, Giunchiglia & Lukasiewicz, NeurIPS 2020).
    """

    retired_fields: ClassVar[dict[str, tuple[Any, str]]] = {
        "label_losses": (None, _TRAINING),
        "hierarchy_loss_weight": (0.0, _TRAINING),
    }
    """Fields of earlier versions: the one value that is still accepted, and the remedy for another."""
    renamed_fields: ClassVar[dict[str, str]] = {"label_text": "text_recipe"}

    backbone: str = config_field("resnet101", meaning=True)
    backbone_kwargs: dict[str, Any] | None = config_field(None, meaning=True)
    image_size: int | list[int] | tuple[int, ...] = 448
    image_mean: list[float | int] | tuple[float | int, ...] = config_field((0.485, 0.456, 0.406), meaning=True)
    image_std: list[float | int] | tuple[float | int, ...] = config_field((0.229, 0.224, 0.225), meaning=True)
    gamma_neg: float | int = config_field(2.0, ">= 0")
    gamma_pos: float | int = config_field(0.0, ">= 0")
    clip: float | int = config_field(0.0, "in [0, 1)")
    calibration: dict[str, list[float | int]] | None = config_field(None, labels=True)
    thresholds: Thresholds | dict[str, Thresholds] | None = config_field(None, labels=True)
    label_parents: dict[str, list[str]] | None = config_field(None, labels=True)

    def __post_init__(self, **kwargs: Any) -> None:
        for name, (default, remedy) in self.retired_fields.items():
            value = kwargs.pop(name, default)
            _require(value == default, name, value, remedy)
        channels = kwargs.pop("num_channels", self.num_channels)
        remedy = f"image_mean has {self.num_channels} numbers; give it and image_std one for each channel"
        _require(channels == self.num_channels, "num_channels", channels, remedy)
        for former, name in self.renamed_fields.items():
            if former in kwargs:
                setattr(self, name, kwargs.pop(former))
        dtype = self.dtype if self.dtype is not None else kwargs.get("torch_dtype")
        known = dtype is None or isinstance(getattr(torch, str(dtype).removeprefix("torch."), None), torch.dtype)
        _require(known, "dtype", dtype, "give a number format of torch, such as 'float32'")
        self.problem_type = self.problem_type or "multi_label_classification"
        if self.id2label is not None and self.label2id is None:
            self.label2id = {name: int(index) for index, name in self.id2label.items()}
        super().__post_init__(**kwargs)

    @classmethod
    def get_config_dict(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers has it, but `ValueError` for a config.json that holds no object."""
        try:
            return super().get_config_dict(*args, **kwargs)
        except (AttributeError, RecursionError, TypeError):
            raise ValueError("config.json holds no JSON object: take a saved one.") from None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As `PreTrainedConfig.from_dict`; a different number of labels removes all fields of the former labels.

        New names for the same number of labels rename them, in the hierarchy too.

        Raises:
            ValueError: A field cannot be used; the message has its value and the remedy.
        """
        try:
            return super().from_dict(cls._for_labels(config_dict, kwargs), **kwargs)
        except Exception as error:  # what is no JSON of a configuration makes transformers raise almost anything
            raise ValueError(f"config.json: {_reason(error, cls, config_dict)}") from None

    @classmethod
    def _for_labels(cls, config_dict: dict[str, Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """A configuration for the labels that arguments of `from_dict` ask for."""
        names, former = kwargs.get("id2label"), config_dict.get("id2label") or {}
        count = kwargs.get("num_labels") if names is None else len(names)
        if count not in (None, len(former)):
            of_labels = {one.name for one in fields(cls) if one.metadata.get("labels")}
            of_labels |= {old for old, name in cls.renamed_fields.items() if name in of_labels}
            config_dict = {key: config_dict[key] for key in config_dict if key not in of_labels}
        elif names is not None and config_dict.get("label_parents"):
            new_name = {name: _by_index(names).get(int(index), name) for index, name in former.items()}
            renamed = rename_label_parents(config_dict["label_parents"], new_name)
            config_dict = config_dict | {"label_parents": renamed, "id2label": names, "label2id": None}
        return config_dict

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the input in pixels."""
        size = self.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(height), int(width)

    @property
    def num_channels(self) -> int:
        """Channels of the input."""
        return len(self.image_mean)

    @property
    def label_names(self) -> list[str]:
        """The labels' names, in the order of the logits."""
        names = _by_index(self.id2label or {})
        return [names[index] for index in sorted(names)]

    @property
    def focus(self) -> dict[str, float]:
        """Exponents and clip of the asymmetric loss: arguments of `asymmetric_loss`."""
        return {"gamma_neg": self.gamma_neg, "gamma_pos": self.gamma_pos, "clip": self.clip}

    def validate_image(self) -> None:
        """Raise `ValueError` if input size, mean or standard deviation cannot be used."""
        size = self.image_size
        sides: Sequence[int] = [size, size] if isinstance(size, int) else size
        usable = len(sides) == 2 and min(sides) > 0 and max(sides) <= _LARGEST
        _require(usable, "image_size", size, "give one side or [height, width] > 0")
        channels = len(self.image_std)
        for name in ("image_mean", "image_std"):
            values = getattr(self, name)
            usable = len(values) == channels and all(abs(value) <= _LARGEST for value in values)
            _require(usable, name, values, f"give {channels} numbers, one for each channel as image_std has")
        _require(all(value > 0 for value in self.image_std), "image_std", self.image_std, "give numbers > 0")

    def validate_ranges(self) -> None:
        """Raise `ValueError` if a number is outside the range of its field."""
        for one in fields(self):
            within, value = one.metadata.get("within"), getattr(self, one.name)
            _require(
                within is None or value is None or _RANGES[within](value), one.name, value, f"give a number {within}"
            )

    def validate_hierarchy(self) -> None:
        """Raise `ValueError` if the hierarchy has other labels or a cycle."""
        if self.label_parents:
            check_label_parents(self.label_parents, self.label_names)

    def validate_decisions(self) -> None:
        """Raise `ValueError` unless calibration and thresholds fit the labels and the order of their hierarchy."""
        for name, check in (("calibration", check_calibration), ("thresholds", check_thresholds)):
            value = getattr(self, name)
            if value is not None and (remedy := check(value, self.label_names, self.label_parents or {})):
                _require(False, name, value, remedy)

    def validate_label_maps(self) -> None:
        """Raise `ValueError` if `id2label` and `label2id` do not name the same labels, each once."""
        indices = {int(index): name for name, index in (self.label2id or {}).items()}
        _require(
            indices == self.id2label and sorted(indices) == list(range(len(self.label_names))),
            "label2id",
            self.label2id,
            "make it the inverse of id2label, with indices from 0 and no label twice",
        )


@checked
class SCTConfig(BackboneConfig):
    """Configuration of `SCTModel` and `SCTForMultiLabelClassification`, with the arguments of `BackboneConfig`.

    docs/method.md says which parts are the paper's and which defaults this project chose.

    Args:
        feature_levels (`int`, *optional*, defaults to 1):
            2 adds a branch at the backbone's stage of half the stride, for small objects and finer maps.
        hidden_size (`int`, *optional*):
            Width D to which regions are projected and normalised; None keeps the backbone's width.
        input_dropout (`float`, *optional*, defaults to 0.0):
            Dropout of the backbone's features before the projection, for small data sets. The semantic map sees all.
        label_embedding_size (`int`, *optional*, defaults to 768):
            Width D_t of the label-text embeddings.
        text_recipe (`dict`, *optional*):
            How the embeddings were made: encoder, template and normalised names.
        seen_labels (`list[str]`, *optional*):
            Names of the labels of training, if the checkpoint's labels were changed afterwards.
        encoder_layers (`int`, *optional*, defaults to 1):
            Transformer encoder layers over the regions.
        encoder_attention_heads (`int`, *optional*, defaults to 8):
            Attention heads of each layer.
        encoder_ffn_dim (`int`, *optional*, defaults to 2048):
            Width of each layer's feed-forward block.
        dropout (`float`, *optional*, defaults to 0.1):
            Dropout of the encoder layers.
        label_prototypes (`bool`, *optional*, defaults to `False`):
            Whether the checkpoint has a prototype of each label in the backbone's feature space, computed from the
            label's text and the backbone's ImageNet classifier. The fields below it control its use.
        class_count (`int`, *optional*, defaults to 0):
            Classes K of that classifier in the checkpoint, as parts of prototypes and as evidence.
        prototype_pooling (`float`, *optional*, defaults to 0.5):
            Share of the prototypes' plan in pooling map and region scores, and in pooling features for labels.
        familiarity_threshold (`float`, *optional*, defaults to 0.8):
            Text similarity, in [0, 1), of a new label to the nearest label of training. Up to this threshold only the
            prototype or evidence scores the label; from there to 1 the learned score is blended in. 0 always uses it.
        aligned_dropout (`float`, *optional*, defaults to 0.5):
            Share of training images whose regions are scored without the transported label features.
        temperature (`float`, *optional*, defaults to 0.1):
            Initial temperature of the transport plans; training changes it.
        rho (`float`, *optional*, defaults to 0.5):
            Share of the region → label direction in the transport cost (arXiv 2012.14100).
        scorer (`"linear"` or `"label"`, *optional*, defaults to `"linear"`):
            Score with one weight vector per label, or with vectors computed from the labels' text and features. The
            latter works for any number of labels.
        scorer_dropout (`float`, *optional*, defaults to 0.5):
            Dropout before the region scores.
        semantic_loss_weight (`float`, *optional*, defaults to 0.8):
            λ₁, weight of the semantic map's classification loss.
        transport_loss_weight (`float`, *optional*, defaults to 0.1):
            λ₂, weight of the transport cost. The other losses are means over the known targets.
    """

    model_type = "sct"
    keys_to_ignore_at_inference = ["losses", "branch_logits"]
    retired_fields: ClassVar[dict[str, tuple[Any, str]]] = {
        **BackboneConfig.retired_fields,
        **{"projection_norm": (True, _STRUCTURE), "normalize_label_embeddings": (True, _STRUCTURE)},
        **{"map_input": ("features", _STRUCTURE), "map_pooling": ("mean", _STRUCTURE)},
        **{"prototype_temperature": (0.05, _NEWLY_FIXED), "prototype_scale": (0.5, _NEWLY_FIXED)},
        **{"fuse_map_scores": (True, _STRUCTURE), "label_pooling": (True, _STRUCTURE)},
        **{"aligned_features": (True, _STRUCTURE), "guidance": ("prior", _STRUCTURE)},
        "learn_temperature": (True, _STRUCTURE),
        "label_interaction": (False, "use the model of sct_hf.variants.known_labels, or sct_hf 0.1"),
        "label_states": (
            False,
            "load it by SCTWithKnownLabels of sct_hf.variants.known_labels, or train with --head sct_known_labels",
        ),
        "label_graph": (
            False,
            "load it by SCTWithLabelGraph of sct_hf.variants.label_graph, or train with --head sct_label_graph",
        ),
        "known_share_max": (0.75, _TRAINING),
        **{"contrast_loss_weight": (0.0, _TRAINING), "contrast_temperature": (0.1, _TRAINING)},
        **{"erasing_loss_weight": (0.0, _TRAINING), "erasing_share": (0.2, _TRAINING)},
    }

    feature_levels: int = config_field(1, "in [1, 2]", meaning=True)
    hidden_size: int | None = config_field(None, "> 0", meaning=True)
    input_dropout: float | int = config_field(0.0, "in [0, 1)")
    label_embedding_size: int = config_field(768, "> 0", made=True)
    text_recipe: dict[str, Any] | None = config_field(None, labels=True)
    seen_labels: list[str] | None = config_field(None, made=True)
    encoder_layers: int = config_field(1, "in [0, 100]")
    encoder_attention_heads: int = config_field(8, "> 0", meaning=True)
    encoder_ffn_dim: int = config_field(2048, "> 0")
    dropout: float | int = config_field(0.1, "in [0, 1)")
    label_prototypes: bool = config_field(False, meaning=True)
    class_count: int = config_field(0, ">= 0", made=True)
    prototype_pooling: float | int = config_field(0.5, "in [0, 1]", meaning=True)
    familiarity_threshold: float | int = config_field(0.8, "in [0, 1)")
    aligned_dropout: float | int = config_field(0.5, "in [0, 1)")
    temperature: float | int = config_field(0.1, "> 0")
    rho: float | int = config_field(0.5, "in [0, 1]")
    scorer: Literal["linear", "label"] = config_field("linear", meaning=True)
    scorer_dropout: float | int = config_field(0.5, "in [0, 1)")
    semantic_loss_weight: float | int = config_field(0.8, ">= 0")
    transport_loss_weight: float | int = config_field(0.1, ">= 0")

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """As `PreTrainedConfig.save_pretrained`; a checkpoint loaded with its code keeps the code.

        transformers copies the code of classes that it loaded from a checkpoint, but not this package's, although
        `auto_map` names both.
        """
        super().save_pretrained(save_directory, push_to_hub, **kwargs)
        if getattr(self, "auto_map", None):
            write_code(self, save_directory)


__all__ = ["BackboneConfig", "SCTConfig", "checked", "config_field", "write_code"]
