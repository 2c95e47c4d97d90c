"""A learning curve, and what it says in words."""

from dataclasses import dataclass

from sct_hf.training.power_law import Forecast


@dataclass(frozen=True)
class LearningCurve:
    """Scores by number of training images.

    Attributes:
        images: All N images; a fold less trained the models.
        sizes: (S,) numbers of images that trained.
        scores: (S,) mAP in [0, 1] on held-out folds.
        errors: (S,) standard deviations of the scores over draws of images and folds.
        label_names: The labels that were scored.
        per_label: AP of each of these, (C, S).
        left_out: Labels with too few images to score.
        now: What all N images are expected to give.
        twice: What twice as many are.
    """

    images: int
    sizes: list[int]
    scores: list[float]
    errors: list[float]
    label_names: list[str]
    per_label: list[list[float]]
    left_out: list[str]
    now: Forecast
    twice: Forecast


def format_curve(curve: LearningCurve) -> str:
    """The curve as a table, and its forecast in words."""
    lines = ["  images   mAP %"]
    for size, score, error in zip(curve.sizes, curve.scores, curve.errors, strict=True):
        lines.append(f"{size:8,}   {100 * score:5.1f} ± {100 * error:.1f}")
    return "\n".join([*lines, *forecast_lines(curve)])


def forecast_lines(curve: LearningCurve) -> list[str]:
    """What the curve says, a sentence a line."""
    lines = []
    for one in (curve.now, curve.twice):
        lines.append(
            f"{one.size:,} images: {100 * one.score:.1f} expected, {100 * one.low:.1f} to {100 * one.high:.1f} nine "
            "times in ten"
        )
    twice = curve.twice
    lines.append(
        f"twice as many images would give {100 * twice.gain:+.1f} points of mAP, "
        f"{100 * twice.gain_low:+.1f} to {100 * twice.gain_high:+.1f} nine times in ten"
    )
    if curve.left_out:
        some = ", ".join(curve.left_out[:5]) + (", …" if len(curve.left_out) > 5 else "")
        count = len(curve.left_out)
        are = "labels with too few images are" if count > 1 else "label with too few images is"
        lines.append(f"{count} {are} not in these figures: {some}")
    return lines
