"""Feature maps of a frozen backbone, computed once and read back from disk."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from filelock import FileLock, Timeout
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from sct_hf.data.base import LabelledImages
from sct_hf.data.loading import ImageDataset
from sct_hf.data.map_file import MapFile
from sct_hf.data.transforms import Transform, eval_transform, image_size_pair
from sct_hf.errors import InputError
from sct_hf.files import cache_folder
from sct_hf.model.backbone_sct import BackbonePreTrainedModel
from sct_hf.model.image_processing_sct import to_rgb
from sct_hf.progress import progress_bar, say

_VERSION = 1
_PARTIAL = ".partial"


def view_transforms(
    views: int, image_size: int | Sequence[int], mean: Sequence[float], std: Sequence[float]
) -> list[Transform]:
    """Build the transforms of `views` fixed views: evaluation, its mirror image, then mild random crops.

    A crop covers 0.5 to 1 of the image's area, is resized to the full size, and mirrored half of the time. It uses
    torch's global generator. This project chose the views.

    Returns:
        Functions from a PIL image to float32 (3, H, W).
    """
    plain = eval_transform(image_size, mean, std)
    mirrored = v2.Compose([plain, v2.RandomHorizontalFlip(p=1.0)])
    size = image_size_pair(image_size)
    crop = v2.Compose([to_rgb, v2.RandomResizedCrop(size, scale=(0.5, 1.0)), v2.RandomHorizontalFlip(), plain])
    return [plain, mirrored, *[crop] * (views - 2)][:views]


class _AllViews:
    def __init__(self, transforms: list[Transform]) -> None:
        self.transforms = transforms

    def __call__(self, image: Image.Image) -> Tensor:
        return torch.stack([transform(image) for transform in self.transforms])  # (V, 3, H, W)


def cached_feature_maps(
    model: BackbonePreTrainedModel,
    images: LabelledImages,
    *,
    views: int,
    cache_dir: str | Path | None,
    accelerator: Accelerator,
    batch_size: int | None = None,
    num_workers: int = 0,
) -> np.ndarray:
    """Open the maps of `images` by `model.backbone`; compute them first if the cache lacks them.

    The key of the cache is a digest of the backbone's weights, ids and files (path, size and modification time, or the
    bytes of images without a file) and the views. Several processes share the work. A damaged or foreign file is
    reported and computed again.

    Args:
        model: Source of the `backbone`, in evaluation mode and float32, and of size, mean and std in `config`.
        images: The images.
        views: Fixed views V of each, see `view_transforms`.
        cache_dir: Folder of all caches; in the user's cache, see `sct_hf.files.cache_folder`, if None.
        accelerator: The accelerator of this process.
        batch_size: Views per batch of the backbone, over all processes; by default 64, and 4 on a CPU, whose cache
            holds the activations of few.
        num_workers: Processes that load images.

    Returns:
        A read-only memory map (N, V, D₀, H', W') float16.

    Raises:
        InputError: The disk has no room for the maps, `cache_dir` cannot be used, or a map does not fit float16.
    """
    folder = Path(cache_dir) if cache_dir else cache_folder("features")
    key = _key(model, images, views)
    target = MapFile(folder / f"{key}.npy", key)
    partial = MapFile(target.path.with_suffix(_PARTIAL), key)
    with ExitStack() as held:
        if accelerator.is_main_process:
            _make_folder(folder)
            held.enter_context(_locked(partial.path))
            held.callback(partial.path.unlink, missing_ok=True)
            _remove_strays(folder)
            if target.path.exists() and not target.is_whole():
                say(accelerator, f"{target.path} is damaged: its maps are computed again")
                target.path.unlink()
        accelerator.wait_for_everyone()
        if not target.path.exists():
            usual = (4 if accelerator.device.type == "cpu" else 64) * accelerator.num_processes
            _compute(model, images, views, partial, accelerator, batch_size or usual, num_workers)
            if accelerator.is_main_process:
                partial.seal()
                os.replace(partial.path, target.path)
        accelerator.wait_for_everyone()
        return np.load(target.path, mmap_mode="r")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cache_dir is {str(folder)!r}, which cannot be made a folder ({error.strerror or error}): name another"
        ) from error


def _locked(partial: Path, *, wait: bool = True) -> Any:
    """A lock on a file that is being computed.

    Raises:
        Timeout: Another process holds it, and `wait` is false.
        InputError: Nothing can be written there.
    """
    try:
        return FileLock(partial.with_suffix(".lock")).acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise
    except OSError as error:
        raise InputError(
            f"cache_dir is {str(partial.parent)!r}, where nothing can be written ({error.strerror or error}): name "
            "another folder"
        ) from error


def _remove_strays(folder: Path) -> None:
    """Remove what processes that were killed left half computed."""
    for path in folder.glob(f"*{_PARTIAL}"):
        try:
            with _locked(path, wait=False):
                path.unlink(missing_ok=True)
        except Timeout:  # it is being computed
            continue


def _compute(
    model: BackbonePreTrainedModel,
    images: LabelledImages,
    views: int,
    file: MapFile,
    accelerator: Accelerator,
    batch_size: int,
    num_workers: int,
) -> None:
    """Write the maps of all views of all images to a file."""
    config, backbone = model.config, model.backbone
    was_training = backbone.training
    backbone.eval()
    transforms = view_transforms(views, config.image_size, config.image_mean, config.image_std)
    dataset = ImageDataset(images, _AllViews(transforms))
    if accelerator.is_main_process:
        file.create((len(images), views, *_map_shape(backbone, config.input_size, accelerator.device)))
    accelerator.wait_for_everyone()
    share = list(range(accelerator.process_index, len(images), accelerator.num_processes))
    count = max(batch_size // accelerator.num_processes // views, 1)
    loader = DataLoader(dataset, batch_size=count, sampler=share, num_workers=num_workers)
    progress = progress_bar(
        total=len(share),
        desc=f"maps of {images.name} {images.split}",
        unit="image",
        shown=accelerator.is_main_process,
    )
    with progress, torch.inference_mode():
        for batch in loader:
            pixels = batch["pixel_values"].flatten(0, 1).to(accelerator.device)  # (B·V, 3, H, W)
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            found = backbone(pixels).to(torch.float16)  # (B·V, D₀, H', W')
            if not found.isfinite().all():
                raise InputError(
                    "cache_features is set, but the backbone's maps do not fit float16: leave it out, "
                    "and check backbone_weights"
                )
            file.write(batch["index"].numpy(), found.unflatten(0, (-1, views)).cpu().numpy())
            progress.update(len(batch["index"]))
    backbone.train(was_training)
    accelerator.wait_for_everyone()


def _map_shape(backbone: nn.Module, input_size: tuple[int, int], device: torch.device) -> tuple[int, ...]:
    with torch.inference_mode():
        return tuple(backbone(torch.zeros(1, 3, *input_size, device=device)).shape[1:])


def _key(model: BackbonePreTrainedModel, images: LabelledImages, views: int) -> str:
    """Digest of all inputs of the maps."""
    digest = hashlib.sha256()
    for name, value in sorted(model.backbone.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for index, image_id in enumerate(images.image_ids):
        digest.update(image_id.encode())
        digest.update(_image_identity(images.encoded(index)))
    config = model.config
    settings: list[Any] = [config.backbone, config.backbone_kwargs, list(config.input_size)]
    settings += [list(config.image_mean), list(config.image_std), views, _VERSION]
    settings += [["levels", 2]] if getattr(config, "feature_levels", 1) > 1 else []
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()[:24]


def _image_identity(image: dict[str, Any]) -> bytes:
    if image["bytes"] is not None:
        return hashlib.sha256(image["bytes"]).digest()
    status = os.stat(image["path"])
    return f"{os.path.abspath(image['path'])} {status.st_size} {status.st_mtime_ns}".encode()


class CachedDataset(Dataset[dict[str, Any]]):
    """Cached maps and targets. A batch is read in one piece and needs no collation (see `collate_cached`).

    An image's view depends only on (seed, epoch, index). Resampling asks for (index, repeat) instead: each repeat has
    the next view, until all were used.

    Args:
        maps: (M, V, D₀, H', W') float16, from `cached_feature_maps`.
        rows: (N,) rows of `maps` in this data set.
        targets: (N, C): 1 present, 0 absent, -1 unknown.
        views: Draw from the first `views` views; 1 for evaluation.
        seed: Seed of the draw.
    """

    def __init__(self, maps: np.ndarray, rows: np.ndarray, targets: np.ndarray, *, views: int, seed: int = 0) -> None:
        self._maps, self._rows = maps, rows
        self._targets = torch.from_numpy(targets)  # (N, C)
        self._views, self._seed = views, seed
        self.set_epoch(0)

    def __len__(self) -> int:
        return len(self._rows)

    def spread(self, count: int) -> "CachedDataset":
        """The first views of at most `count` images spread over the data set, for evaluation."""
        places = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        return CachedDataset(self._maps, self._rows[places], self._targets.numpy()[places], views=1)

    def set_epoch(self, epoch: int) -> None:
        """Use the views of `epoch` from now on."""
        self._view = np.random.default_rng((self._seed, epoch)).integers(self._views, size=len(self._rows))  # (N,)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return one item: `{"backbone_features": float32 (D₀, H', W'), "labels": float32 (C,), "index": int}`."""
        return {name: value[0] for name, value in self.__getitems__([key]).items()}

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> dict[str, Tensor]:
        """Return a batch: the same fields with a leading axis B."""
        pairs = [key if isinstance(key, tuple) else (key, 0) for key in keys]
        indices, repeats = ([pair[part] for pair in pairs] for part in (0, 1))
        views = (self._view[indices] + repeats) % self._views  # (B,)
        maps = self._maps[self._rows[indices], views]  # (B, D₀, H', W')
        features = torch.from_numpy(maps).float()
        return {
            "backbone_features": features,
            "labels": self._targets[indices].float(),
            "index": torch.tensor(indices),
        }


def collate_cached(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a batch of `CachedDataset` unchanged; it is already collated."""
    return batch
