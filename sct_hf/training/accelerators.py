"""The accelerator of a run."""

from accelerate import Accelerator

from sct_hf.training.arguments import Arguments
from sct_hf.training.devices import make_accelerator
from sct_hf.training.sharding import sharding_plugin, start_sharding


def accelerator_of(arguments: Arguments) -> Accelerator:
    """Make the accelerator of a run.

    Raises:
        InputError: As `make_accelerator` and `sharding_plugin`.
    """
    train = arguments.train
    plugin = sharding_plugin(train.mixed_precision)
    accelerator = make_accelerator(
        mixed_precision=train.mixed_precision,
        cpu_threads=train.cpu_threads,
        seed=train.seed,
        gradient_accumulation_steps=train.gradient_accumulation,
        log_with=train.trackers or None,
        project_dir=train.output_dir,
        fsdp_plugin=plugin,
    )
    if plugin:
        start_sharding(accelerator, plugin)
    return accelerator
