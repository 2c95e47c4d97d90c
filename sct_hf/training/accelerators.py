"""The accelerator of a run."""

from accelerate import Accelerator

from sct_hf.training.arguments import Arguments
from sct_hf.training.devices import make_accelerator


def accelerator_of(arguments: Arguments) -> Accelerator:
    """Make the accelerator of a run."""
    train = arguments.train
    return make_accelerator(
        mixed_precision=train.mixed_precision,
        cpu_threads=train.cpu_threads,
        seed=train.seed,
        gradient_accumulation_steps=train.gradient_accumulation,
        log_with=train.trackers or None,
        project_dir=train.output_dir,
    )
