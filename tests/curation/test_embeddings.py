"""Embeddings against torch's pooling, neighbours and pairs against scikit-learn and all pairs one by one."""

import numpy as np
import torch
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from sct_hf.curation.embeddings import embed_maps, near_pairs, nearest


def unit(count: int, width: int = 5) -> np.ndarray:
    found = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_embeddings_are_centred_means_of_the_first_view_and_the_first_channels() -> None:
    maps = np.random.default_rng(0).normal(size=(7, 3, 6, 2, 2)).astype(np.float16)
    rows = np.array([4, 0, 5, 1])
    pooled = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(maps[rows, 0, :4]).float(), 1)[..., 0, 0]
    expected = torch.nn.functional.normalize(pooled - pooled.mean(0), dim=1).numpy()
    assert np.allclose(embed_maps(maps, rows, 4), expected, atol=1e-6)


def test_equal_images_have_finite_embeddings() -> None:
    assert np.array_equal(embed_maps(np.ones((3, 1, 2, 2, 2), np.float16), np.arange(3), 2), np.zeros((3, 2)))


def test_pairs_are_all_that_are_near_once_each() -> None:
    embeddings = unit(600)  # more than are compared at once
    similar = cosine_similarity(embeddings)
    expected = {(i, j) for i in range(600) for j in range(i + 1, 600) if similar[i, j] >= 0.98}
    found = near_pairs(embeddings, 0.98)
    assert len(expected) > 10
    assert {(pair.first, pair.second) for pair in found} == expected
    assert len(found) == len(expected)
    assert [pair.similarity for pair in found] == sorted((pair.similarity for pair in found), reverse=True)


def test_neighbours_are_those_of_scikit_learn() -> None:
    embeddings = unit(80)
    among = np.arange(80) % 3 == 0
    rows = np.flatnonzero(among)
    order = NearestNeighbors(n_neighbors=5, metric="cosine").fit(embeddings[among]).kneighbors(embeddings[[7]])[1][0]
    assert nearest(embeddings, 7, among, 5) == rows[order].tolist()
    assert 9 not in nearest(embeddings, 9, among, 80)
    assert len(nearest(embeddings, 9, among, 80)) == among.sum() - 1
