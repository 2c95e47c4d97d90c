"""Groups of images that the known labels do not explain, with words for what they show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import MiniBatchKMeans

_FITTED = 10_000  # most images that the centres are fitted to
_AT_ONCE = 1024
_IMAGES_A_GROUP = 12  # on average
_MOST_GROUPS = 24
_LEAST_SIZE = 3
_NAMES = 3
_RIVAL = 0.75
_WEAKEST = 0.25
_TINY = 1e-6


@dataclass(frozen=True)
class Cluster:
    """Images that look alike.

    Attributes:
        rows: Their rows, the nearest to their centre first.
        words: Words for what they show, the best first; empty without a vocabulary.
    """

    rows: list[int]
    words: list[str]


@dataclass(frozen=True)
class WordClasses:
    """A vocabulary in terms of the classes of a classifier.

    Attributes:
        words: V words.
        shares: (V, K) in [0, 1]: how far a class shows what a word names.
        class_vectors: (K, D₀), the classifier's weights.
    """

    words: Sequence[str]
    shares: np.ndarray
    class_vectors: np.ndarray

    def chances(self, embeddings: np.ndarray) -> np.ndarray:
        """Mean probability of each class over images: (N, D₀) → (K,) float64."""
        total = np.zeros(len(self.class_vectors))
        for start in range(0, len(embeddings), _AT_ONCE):
            logits = embeddings[start : start + _AT_ONCE].astype(np.float32) @ self.class_vectors.T  # (B, K)
            seen = np.exp(logits - logits.max(1, keepdims=True))
            total += (seen / seen.sum(1, keepdims=True)).sum(0)
        return total / len(embeddings)


def find_groups(embeddings: np.ndarray, rows: np.ndarray, seed: int) -> list[list[int]]:
    """Divide images into groups that look alike, by k-means on embeddings of length 1.

    Args:
        embeddings: (N, D₀) float16, of all images.
        rows: Rows of the M images to divide.
        seed: Seed of the first centres.

    Returns:
        The rows of each group of at least three images, the nearest to its centre first; large groups come first.
    """
    count = min(_MOST_GROUPS, len(rows) // _IMAGES_A_GROUP + 1)
    if len(rows) < _LEAST_SIZE:
        return []
    centre = embeddings.mean(0, dtype=np.float64).astype(np.float32)  # (D₀,)

    def units(some: np.ndarray) -> np.ndarray:
        moved = embeddings[some].astype(np.float32) - centre
        return moved / np.linalg.norm(moved, axis=1, keepdims=True).clip(1e-12)

    drawn = np.random.default_rng(seed).permutation(rows)[:_FITTED]
    fitted = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=_AT_ONCE).fit(units(drawn))
    parts = [rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE)]
    far = np.concatenate([fitted.transform(units(part)) for part in parts])  # (M, k)
    nearest = far.argmin(1)  # (M,)
    groups = []
    for group in range(count):
        members = np.flatnonzero(nearest == group)
        if len(members) >= _LEAST_SIZE:
            groups.append(rows[members[np.argsort(far[members, group], kind="stable")]].tolist())
    return sorted(groups, key=lambda each: (-len(each), each))


def best_words(seen: np.ndarray, usual: np.ndarray, vocabulary: WordClasses) -> list[str]:
    """The words that tell a group from all images.

    A word w has the probability p = Σ_k s[w,k]·q_k in the group, and p₀ over all images. It tells p·log(p/p₀) +
    (1−p)·log((1−p)/(1−p₀)), which is large for what is common here and rare elsewhere. Words that share half of their
    probability are a family, such as "matter", "food" and "nutrient". Of the family of the word that tells most, the
    rarest elsewhere is taken that tells at least 0.75 as much; then the next family. This project's choices.

    Args:
        seen: Mean probabilities q (K,) of the classes in the group.
        usual: The same over all images.
        vocabulary: V words.

    Returns:
        At most three words that are more probable in the group than elsewhere, and tell at least a quarter of what the
        best word tells.
    """
    here, elsewhere = (np.clip(vocabulary.shares @ chances, _TINY, 1 - _TINY) for chances in (seen, usual))  # (V,)
    told = here * np.log(here / elsewhere) + (1 - here) * np.log((1 - here) / (1 - elsewhere))
    told[here <= elsewhere] = 0
    least = told.max(initial=0) * _WEAKEST
    words: list[str] = []
    while len(words) < _NAMES and told.max(initial=0) > least:
        best = int(told.argmax())
        shared = np.minimum(vocabulary.shares, vocabulary.shares[best]) @ seen  # (V,)
        family = shared >= np.minimum(here, here[best]) / 2
        rivals = np.flatnonzero(family & (told >= _RIVAL * told[best]))
        words.append(vocabulary.words[rivals[elsewhere[rivals].argmin()]])
        told[family] = 0
    return words


def unexplained(
    embeddings: np.ndarray, rows: np.ndarray, vocabulary: WordClasses | None, seed: int = 0
) -> list[Cluster]:
    """Group images in which no known label was found, and find words for each group.

    Args:
        embeddings: (N, D₀) float16, of all images.
        rows: Rows of the images without known labels.
        vocabulary: Words; None for groups without words.
        seed: Seed of the groups.
    """
    groups = find_groups(embeddings, rows, seed)
    if vocabulary is None or not groups:
        return [Cluster(group, []) for group in groups]
    usual = vocabulary.chances(embeddings)
    return [Cluster(group, best_words(vocabulary.chances(embeddings[group]), usual, vocabulary)) for group in groups]
