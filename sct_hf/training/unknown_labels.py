"""What training does about unknown labels."""

import numpy as np

from sct_hf.errors import InputError
from sct_hf.training.arguments import TrainArguments
from sct_hf.training.ema import AveragedModel
from sct_hf.training.label_blending import LabelBlending
from sct_hf.training.label_recovery import LabelRecovery
from sct_hf.training.models import TaggingModel

_KINDS = {"recover": LabelRecovery, "blend": LabelBlending}


def make_recovery(
    options: TrainArguments, model: TaggingModel, average: AveragedModel, targets: np.ndarray
) -> LabelRecovery | None:
    """Make what recovers unknown labels, where that is asked for and labels are unknown.

    Args:
        options: What to do about unknown labels, and how.
        model: The model to train.
        average: Its averaged weights.
        targets: (N, C) of all training pictures, −1 unknown.

    Raises:
        InputError: The model has no representations to blend.
    """
    unknown_labels = options.unknown_labels
    if unknown_labels not in _KINDS or (targets >= 0).all():
        return None
    if unknown_labels == "blend" and getattr(model, "pooled_scorer", None) is None:
        raise InputError("unknown_labels is 'blend': it needs --head sct with label_pooling; choose recover, say")
    kind, only_present = _KINDS[unknown_labels], not (targets == 0).any()
    return kind(model, lambda: average.model, temperature=options.recovery_temperature, only_present=only_present)


def recovery_weight(progress: float, weight: float, warmup: float) -> float:
    """Weight of the loss on recovered labels: rises in a line from 0 over the share `warmup` of the steps.

    Args:
        progress: Share of all steps that are done.
        weight: What it rises to.
        warmup: Share of all steps that it takes; 0 for none.
    """
    return weight * min(progress / warmup, 1.0) if warmup else weight
