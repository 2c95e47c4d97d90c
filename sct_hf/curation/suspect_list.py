"""The suspects of a data set, ranked, with what speaks for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.special import expit

from sct_hf.curation.embeddings import Pair, near_pairs, nearest
from sct_hf.curation.suspects import NoiseModel, fit_noise
from sct_hf.training.folds import Scored

Kind = Literal["missing", "wrong", "twins"]
WITNESSES = 4
"""Images that disagree which are named for each suspect."""

_NEIGHBOURS = 10


@dataclass(frozen=True)
class Suspect:
    """A label of an image that may be wrong.

    Attributes:
        row: The image.
        label: The label.
        given: Whether it is given.
        score: Probability that this is wrong, see `NoiseModel.wrong`.
        there: Probability that the label is there, whatever is given.
        kind: "missing" if it is not given; "wrong" if it is; "twins" if an image that shows nearly the same has it
            otherwise.
        twin: The row of that image.
        agreeing, judged: Neighbours with the suggested value, among the 10 nearest images those that have the label
            known.
        witnesses: The nearest images with the suggested value.
    """

    row: int
    label: int
    given: bool
    score: float
    there: float
    kind: Kind
    twin: int | None = None
    agreeing: int = 0
    judged: int = 0
    witnesses: Sequence[int] = field(default_factory=tuple)


@dataclass(frozen=True)
class SuspectList:
    """What an audit finds.

    Attributes:
        noise: The fitted model.
        wrong: (N, C) float64, the probability that each given label is wrong; NaN where it is unknown.
        suspects: The most suspect labels, the most probable first.
        pairs: Images that show nearly the same, the nearest first.
    """

    noise: NoiseModel
    wrong: np.ndarray
    suspects: list[Suspect]
    pairs: list[Pair]

    @property
    def expected(self) -> float:
        """Expected number of wrong labels: the sum of the probabilities."""
        return float(np.nansum(self.wrong))


def list_suspects(
    scored: Scored, embeddings: np.ndarray, most: int, label_parents: Mapping[str, Sequence[str]] | None = None
) -> SuspectList:
    """Rank the labels of all images.

    A label is suspect if the model by itself disagrees with what is given. Labels that differ between two images which
    show nearly the same are suspect too: of the two, the one more probably wrong. A
    parent is not suspect while a child of it is given.

    Args:
        scored: Out-of-fold logits and given labels.
        embeddings: (N, D₀) float32 of length 1, of the same images.
        most: Most suspects of each of these two kinds; of the latter, those of the nearest images.
        label_parents: {label: its parents} if the labels have a hierarchy.
    """
    given = scored.targets
    noise = fit_noise(scored.logits, given)
    wrong = noise.wrong(scored.logits, given)
    pairs = near_pairs(embeddings)
    implied = _implied(scored, label_parents or {})
    twins = _differing(pairs, given, np.where(implied, -1, wrong), most)
    there = expit(noise.truth(scored.logits))
    disagree = (given >= 0) & ((there >= 0.5) != (given == 1)) & ~implied
    order = ranking(wrong)
    listed = order[disagree.ravel()[order]][:most].tolist()
    chosen = {*(divmod(place, given.shape[1]) for place in listed), *twins}
    suspects = []
    for row, label in sorted(chosen, key=lambda place: (-wrong[place], place)):
        twin, present = twins.get((row, label)), bool(given[row, label] == 1)
        known, suggested = given[:, label] >= 0, given[:, label] == (0 if present else 1)
        around = nearest(embeddings, row, np.ones(len(given), dtype=bool), _NEIGHBOURS)
        suspects.append(
            Suspect(
                row,
                label,
                present,
                float(wrong[row, label]),
                float(there[row, label]),
                "twins" if twin is not None else "wrong" if present else "missing",
                twin,
                int(suggested[around].sum()),
                int(known[around].sum()),
                nearest(embeddings, row, suggested, WITNESSES),
            )
        )
    return SuspectList(noise, wrong, suspects, pairs)


def ranking(wrong: np.ndarray) -> np.ndarray:
    """The places (K,) int64 of all known labels in the flat array, the most suspect first; equal ones in their order.

    Args:
        wrong: (N, C), see `SuspectList`.
    """
    flat = wrong.ravel()
    return np.argsort(-flat, kind="stable")[: np.isfinite(flat).sum()]  # NaN last


def _implied(scored: Scored, label_parents: Mapping[str, Sequence[str]]) -> np.ndarray:
    """(N, C) bool, whether the label and a child of it are given."""
    column = {name: place for place, name in enumerate(scored.label_names)}
    found = np.zeros(scored.targets.shape, dtype=bool)
    for child, parents in label_parents.items():
        for parent in parents:
            found[:, column[parent]] |= scored.targets[:, column[child]] == 1
    return found & (scored.targets == 1)


def _differing(pairs: Sequence[Pair], given: np.ndarray, wrong: np.ndarray, most: int) -> dict[tuple[int, int], int]:
    """{(row, label): twin} for labels that differ between two near images, of the row more probably wrong."""
    found: dict[tuple[int, int], int] = {}
    for pair in pairs:
        both = given[[pair.first, pair.second]]
        for label in np.flatnonzero((both >= 0).all(0) & (both[0] != both[1])).tolist():
            if len(found) >= most:
                return found
            rows = (pair.first, pair.second)
            row, twin = rows if wrong[rows[0], label] >= wrong[rows[1], label] else rows[::-1]
            found.setdefault((int(row), label), int(twin))
    return found
