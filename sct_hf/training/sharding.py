"""Weights sharded over the processes of a run: FSDP2, as accelerate's configuration asks for it.

Between steps each process keeps a part of every weight, of its gradient and of the optimizer's moments, as `DTensor`s.
Buffers, single numbers, averaged weights and checkpoints are whole.

Weights stay float32, and autocast picks the number format of the forward pass. So transport and losses compute in
float32, as in one process.
"""

import os
from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin, PartialState
from torch import Tensor, nn
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from sct_hf.errors import InputError


def sharding_plugin(mixed_precision: str) -> FullyShardedDataParallelPlugin | None:
    """The plugin that accelerate's configuration asks for; None if it does not shard weights.

    Args:
        mixed_precision: "no", "fp16" or "bf16".

    Raises:
        InputError: The configuration, or the number format, does not fit this package's models.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return None
    if (version := os.environ.get("FSDP_VERSION", "1")) != "2":  # the plugin of version 1 needs a GPU
        raise InputError(f"fsdp_version is {version} in accelerate's configuration: give 2")
    # Every process reads the weights: otherwise accelerate would also look for parts of buffers.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    try:
        plugin = FullyShardedDataParallelPlugin()
    except ValueError as error:
        raise InputError(f"fsdp_config of accelerate's configuration cannot be used: {error}") from error
    if os.environ.get("FSDP_OFFLOAD_PARAMS", "false").lower() == "true":
        raise InputError("fsdp_offload_params is true in accelerate's configuration: give false")
    if plugin.auto_wrap_policy is size_based_auto_wrap_policy:
        raise InputError(
            "fsdp_auto_wrap_policy is SIZE_BASED_WRAP in accelerate's configuration, but training calls parts of the "
            "model by other methods than forward: give TRANSFORMER_BASED_WRAP, which gathers the backbone's weights "
            "block by block, or NO_WRAP"
        )
    if plugin.activation_checkpointing and plugin.auto_wrap_policy is None:
        raise InputError(
            "fsdp_activation_checkpointing is true in accelerate's configuration, but fsdp_auto_wrap_policy is "
            "NO_WRAP: give TRANSFORMER_BASED_WRAP, or leave checkpointing out"
        )
    if mixed_precision == "fp16":
        raise InputError("mixed_precision is 'fp16', which cannot be used with FSDP: give bf16 or no")
    return plugin


def start_sharding(accelerator: Accelerator, plugin: FullyShardedDataParallelPlugin) -> None:
    """Make `accelerator` shard weights. It leaves FSDP out of CPU processes by itself, and would cast weights."""
    plugin.mixed_precision_policy = None
    if accelerator.num_processes > 1:
        states: tuple[Any, Any] = PartialState(), accelerator.state  # the second takes over values of the first
        for state in states:
            state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = plugin


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether the weights of this run are sharded."""
    return bool(accelerator.distributed_type == DistributedType.FSDP)


def prepare(accelerator: Accelerator, objective: Any, optimizer: Any) -> tuple[Any, Any]:
    """Prepare the parts of training for several processes.

    Args:
        accelerator: The accelerator of this process.
        objective: A `TrainingObjective`. If weights are to be sharded, its weights become so in place.
        optimizer: Its optimizer.

    Raises:
        InputError: accelerate's configuration names a class that the backbone does not have.
    """
    if not is_sharded(accelerator):
        objective, optimizer = accelerator.prepare(objective, optimizer)
        return objective, optimizer
    objective.to(memory_format=torch.contiguous_format)  # FSDP2 shards no other
    objective._no_split_modules = repeated_blocks(objective.backbone.timm_model)
    scalars = nn.ParameterList(weight for weight in objective.parameters() if weight.ndim == 0)
    accelerator.state.fsdp_plugin.ignored_modules = [scalars]
    try:
        objective, optimizer = accelerator.prepare(objective, optimizer)
    except ValueError as error:
        if "Could not find the transformer layer class" not in str(error):  # accelerate's words
            raise
        raise InputError(
            f"fsdp_transformer_layer_cls_to_wrap in accelerate's configuration: {error} Leave it out, or name one of "
            f"{', '.join(objective._no_split_modules)}"
        ) from error
    objective.register_forward_pre_hook(_share_buffers)
    return objective, optimizer


def _share_buffers(objective: nn.Module, _: object) -> None:
    """Copy the first process's buffers, such as running means, to all processes, as without sharding (DDP)."""
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for buffer in objective.buffers():
        by_dtype.setdefault(buffer.dtype, []).append(buffer)
    with torch.no_grad():
        for buffers in by_dtype.values():
            joined = torch.cat([buffer.flatten() for buffer in buffers])
            torch.distributed.broadcast(joined, src=0)
            for buffer, part in zip(buffers, joined.split([buffer.numel() for buffer in buffers]), strict=True):
                buffer.copy_(part.view_as(buffer))


def repeated_blocks(module: nn.Module) -> list[str]:
    """Names of the classes that a module repeats in a row, such as the blocks of a transformer or of a ResNet.

    Containers and layers of torch are none.
    """
    rows = (row for row in module.modules() if isinstance(row, nn.Sequential | nn.ModuleList) and len(row) > 1)
    equal = (kinds.pop() for row in rows if len(kinds := {type(one) for one in row}) == 1)
    return sorted({kind.__name__ for kind in equal if not kind.__module__.startswith("torch.")})


def average_scalar_gradients(accelerator: Accelerator, weights: Iterable[Tensor]) -> None:
    """Average the gradients of those weights that FSDP does not shard over the processes, in place."""
    gradients = [weight.grad for weight in weights if weight.ndim == 0 and weight.grad is not None]
    for gradient, mean in zip(gradients, accelerator.reduce(gradients, "mean"), strict=True):
        gradient.copy_(mean)


def is_part(tensor: Tensor) -> bool:
    """Whether a tensor is sharded over the processes."""
    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Gather a sharded tensor on the device of each process, which all call this; return others as they are."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(state: Any, *, keep: bool) -> Any:
    """Gather the sharded tensors in a state, one by one. Every process calls this, with a state of the same shape.

    Args:
        state: Tensors in dictionaries, lists and tuples.
        keep: Return what was gathered, on the CPU. Otherwise None stands for it, which saves memory.
    """

    def gathered(part: DTensor) -> Tensor | None:
        full = part.full_tensor()
        return full.cpu() if keep else None

    return tree_map_only(DTensor, gathered, state)


def laid_out_as(tensor: Tensor, like: Tensor) -> Tensor:
    """Shard a whole tensor, equal in all processes, as `like` is, or give it the strides of `like`.

    A fused optimizer reads the memory of weights and moments side by side, so their strides must be equal.
    """
    if isinstance(like, DTensor):
        whole_part = tensor.to(like.device).contiguous()
        return distribute_tensor(whole_part, like.device_mesh, like.placements, src_data_rank=None)
    return torch.empty_like(like, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
