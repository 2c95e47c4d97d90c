"""The suspects of a data set, ranked, with what speaks for each."""

from collections.abc import Sequence
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


def list_suspects(scored: Scored, embeddings: np.ndarray, most: int) -> SuspectList:
    """Rank the labels of all images.

    A label is suspect if the model by itself disagrees with what is given. Labels that differ between two images which
    show nearly the same are always suspect: of the two, the one more probably wrong.

    Args:
        scored: Out-of-fold logits and given labels.
        embeddings: (N, D₀) float32 of length 1, of the same images.
        most: Most suspects besides the latter.
    """
    given = scored.targets
    noise = fit_noise(scored.logits, given)
    wrong = noise.wrong(scored.logits, given)
    pairs = near_pairs(embeddings)
    twins = _differing(pairs, given, wrong)
    order = ranking(wrong)
    there = expit(noise.truth(scored.logits))
    disagree = (given >= 0) & ((there >= 0.5) != (given == 1))
    chosen = {*[place for place in order if disagree[place]][:most], *twins}
    place_of = {place: rank for rank, place in enumerate(order)}
    suspects = []
    for row, label in sorted(chosen, key=place_of.__getitem__):
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


def ranking(wrong: np.ndarray) -> list[tuple[int, int]]:
    """All (row, label) with a known label, the most suspect first; equal ones in their order.

    Args:
        wrong: (N, C), see `SuspectList`.
    """
    flat = wrong.ravel()
    order = np.argsort(-flat, kind="stable")  # NaN last
    known = order[: np.isfinite(flat).sum()]
    return [divmod(place, wrong.shape[1]) for place in known.tolist()]


def _differing(pairs: Sequence[Pair], given: np.ndarray, wrong: np.ndarray) -> dict[tuple[int, int], int]:
    """{(row, label): twin} for the labels that differ between two near images, of the row more probably wrong."""
    found: dict[tuple[int, int], int] = {}
    for pair in pairs:
        both = given[[pair.first, pair.second]]
        for label in np.flatnonzero((both >= 0).all(0) & (both[0] != both[1])).tolist():
            rows = (pair.first, pair.second)
            row, twin = rows if wrong[rows[0], label] >= wrong[rows[1], label] else rows[::-1]
            found.setdefault((int(row), label), int(twin))
    return found
