"""What training does about unknown labels."""

from typing import Any

import numpy as np

from sct_hf.errors import InputError
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification
from sct_hf.training.arguments import TrainArguments
from sct_hf.training.ema import AveragedModel
from sct_hf.training.label_blending import LabelBlending
from sct_hf.training.label_recovery import LabelRecovery
from sct_hf.training.models import TaggingModel


def make_recovery(
    options: TrainArguments, model: TaggingModel, average: AveragedModel, targets: np.ndarray
) -> LabelRecovery | None:
    """Make what recovers unknown labels, where that is asked for and labels are unknown.

    Args:
        options: What to do about unknown labels, and how.
        model: The model to train.
        average: Its averaged weights.
        targets: (N, C) of all training images, −1 unknown.

    Raises:
        InputError: The model has no representations to blend, or label states.
    """
    if options.unknown_labels not in ("recover", "blend") or (targets >= 0).all():
        return None
    if getattr(model.config, "label_states", False):
        raise InputError(
            f"unknown_labels is {options.unknown_labels!r}: what is recovered would be learnt from known labels' own "
            "states; leave out label_states, or choose ignore or negative"
        )
    settings: Any = {
        "teacher": lambda: average.model,
        "temperature": options.recovery_temperature,
        "only_present": not (targets == 0).any(),
    }
    if options.unknown_labels == "recover":
        return LabelRecovery(model, **settings)
    if not isinstance(model, SCTForMultiLabelClassification) or model.pooled_scorer is None:
        raise InputError("unknown_labels is 'blend': it needs --head sct with label_pooling; choose recover, say")
    return LabelBlending(model, **settings)


def recovery_weight(progress: float, weight: float, warmup: float) -> float:
    """Weight of the loss on recovered labels: rises in a line from 0 over the share `warmup` of the steps.

    Args:
        progress: Share of all steps that are done.
        weight: What it rises to.
        warmup: Share of all steps that it takes; 0 for none.
    """
    return weight * min(progress / warmup, 1.0) if warmup else weight
