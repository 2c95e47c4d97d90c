"""Embeddings of a run's images, from its cached maps: neighbours, and images that show nearly the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from accelerate import Accelerator

from sct_hf.data import LabelledImages
from sct_hf.data.feature_cache import cached_feature_maps
from sct_hf.data.shards.images import listed
from sct_hf.training.arguments import Arguments
from sct_hf.training.models import new_model
from sct_hf.training.run_data import RunData

NEAR = 0.85
"""Least similarity of two images that show nearly the same. All 8 such pairs of VOC2007's train split do, and 5 of the
next 8; the choice is this project's."""

_AT_ONCE = 256


def run_embeddings(
    arguments: Arguments, run_data: RunData, image_ids: Sequence[str], accelerator: Accelerator
) -> np.ndarray:
    """Embeddings of images that a run trains on or holds out, from its cached maps.

    Args:
        arguments: Arguments of the run, with `cache_features`.
        run_data: Its images.
        image_ids: N of the names in `run_data.all_training`.
        accelerator: The accelerator of this process.

    Returns:
        (N, D₀) float32, see `embed_maps`.

    Raises:
        InputError: The cache cannot be written.
    """
    images = listed(run_data.all_training, "an audit")
    model = new_model(arguments, images.label_names, accelerator, run_data.label_parents).to(accelerator.device)
    maps = cached_feature_maps(
        model,
        images,
        views=arguments.train.cached_views,
        cache_dir=arguments.train.cache_dir,
        accelerator=accelerator,
        num_workers=arguments.data.num_workers,
    )
    return embed_maps(maps, rows_of(image_ids, images), model.backbone.num_features)


def rows_of(image_ids: Sequence[str], images: LabelledImages) -> np.ndarray:
    """The rows (N,) int64 of images, by their names."""
    row_of = {image_id: row for row, image_id in enumerate(images.image_ids)}
    return np.array([row_of[image_id] for image_id in image_ids])


def embed_maps(maps: np.ndarray, rows: np.ndarray, width: int) -> np.ndarray:
    """Mean of each map over its places, centred over all images and of length 1: products are cosine similarities.

    Args:
        maps: (M, V, D₀ + …, H', W') float16; the first view counts. Channels of a finer level come last.
        rows: (N,) rows of `maps`.
        width: D₀, the first channels, which count.

    Returns:
        (N, D₀) float32; zeros for an image in the centre.
    """
    parts = [rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE)]
    means = np.concatenate([maps[part, 0, :width].astype(np.float32).mean((2, 3)) for part in parts])  # (N, D₀)
    means -= means.mean(0)
    return means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)


@dataclass(frozen=True)
class Pair:
    """Two images that show nearly the same: their rows, and the cosine similarity of their embeddings."""

    first: int
    second: int
    similarity: float


def near_pairs(embeddings: np.ndarray, least: float = NEAR) -> list[Pair]:
    """All pairs of images with at least this similarity, the nearest first.

    Args:
        embeddings: (N, D₀) float32 of length 1.
        least: Least cosine similarity.
    """
    found = []
    for start in range(0, len(embeddings), _AT_ONCE):
        near = embeddings[start : start + _AT_ONCE] @ embeddings.T  # (B, N)
        first, second = np.nonzero(np.triu(near >= least, start + 1))
        places = zip((first + start).tolist(), second.tolist(), near[first, second].tolist(), strict=True)
        found += [Pair(*place) for place in places]
    return sorted(found, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def nearest(embeddings: np.ndarray, row: int, among: np.ndarray, count: int) -> list[int]:
    """The rows of the images nearest to one, the nearest first.

    Args:
        embeddings: (N, D₀) float32 of length 1.
        row: The image; it is not its own neighbour.
        among: (N,) bool, the images to choose from.
        count: Most neighbours.
    """
    near = np.where(among, embeddings @ embeddings[row], -np.inf)
    near[row] = -np.inf
    order = np.argsort(-near, kind="stable")[:count]
    return [int(each) for each in order if np.isfinite(near[each])]
