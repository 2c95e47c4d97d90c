"""The processes, devices and threads of a run."""

import os
import platform
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator, DataLoaderConfiguration

from sct_hf.errors import InputError


def make_accelerator(*, mixed_precision: str, cpu_threads: int, seed: int, **options: Any) -> Accelerator:
    """Make the `Accelerator` of a run. Its batch sizes count the images of all processes.

    On the CPU it also sets this process's threads, which `accelerate launch` and torchrun limit to one.

    Args:
        mixed_precision: "no", "fp16" or "bf16".
        cpu_threads: CPU threads of each process; 0 divides the cores among the processes.
        seed: Seed of the order of training images.
        **options: Further arguments of `Accelerator`.

    Raises:
        InputError: The device does not support the number format, or the tracker does not exist.
    """
    loading = DataLoaderConfiguration(
        split_batches=True,
        use_seedable_sampler=True,
        data_seed=seed,
        non_blocking=True,  # loaders pin memory where there is an accelerator
    )
    try:
        accelerator = Accelerator(mixed_precision=mixed_precision, dataloader_config=loading, **options)
    except ValueError as error:
        trackers = f" and report_to {options['log_with']}" if options.get("log_with") else ""
        raise InputError(f"mixed_precision is {mixed_precision!r}{trackers}: {error}") from error
    if accelerator.device.type == "cpu":
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        torch.set_num_threads(cpu_threads or max(usable_cores() // local, 1))
    return accelerator


def native_format() -> Literal["no", "bf16"]:
    """The number format of the forward pass on this machine: "bf16" if its GPU or CPU has instructions for it."""
    if torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "false").lower() not in ("1", "true"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(_cpu_facts("flags", "Features").split()) else "no"


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The CPU's model name, or else its architecture."""
    return _cpu_facts("model name") or platform.processor() or platform.machine()


def _cpu_facts(*names: str) -> str:
    """The first core's value of one of these names in Linux's CPU information; "" elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")


def has_vnni() -> bool | None:
    """Whether the CPU has VNNI, which sums products of bytes in 32 bits; None if it is not x86."""
    able = torch.cpu.get_capabilities()
    if able["architecture"] not in ("x86_64", "i386", "i686"):
        return None
    return any(found is True for name, found in able.items() if "vnni" in name)


def cpu_kind() -> str:
    """The CPU's name, and on x86 whether it has VNNI."""
    return cpu_name() + {True: ", with VNNI", False: ", without VNNI", None: ""}[has_vnni()]


def describe_machine(accelerator: Accelerator) -> dict[str, Any]:
    """The machine of a run: `device`, the name of the accelerator or CPU; `processes`; CPU `threads` of each."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {"device": name, "processes": accelerator.num_processes, "threads": torch.get_num_threads()}
