"""The conditional transport loss compared with entropic optimal transport by Sinkhorn iterations."""

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sct_hf.benchmark.timing import Case, columns, interleaved, peak_memory
from sct_hf.errors import InputError
from sct_hf.model.transport_sct import cosine_similarity, transport_loss

ITERATIONS = 50
TEMPERATURE = 0.1
REFERENCE = "conditional transport"
COST = "cost alone"
_MEGABYTE = 1e6

Loss = Callable[[Tensor], Tensor]


def losses() -> dict[str, Loss]:
    """Return the transport losses by name, functions of the cosine similarity (B, P, C) to a scalar.

    Sinkhorn uses the same cost, 1 − cosine similarity, with uniform weights, in the log domain. Its regularisation is
    the temperature of conditional transport; it runs 50 iterations without a test of convergence. POT's "autodiff"
    differentiates through the iterations. Its "envelope" and GeomLoss take the gradient at the optimum instead.
    GeomLoss lowers its regularisation to the temperature step by step. "cost alone" is the mean of the cost, which all
    of them compute.

    Raises:
        InputError: POT or GeomLoss is not installed.
    """
    try:
        from geomloss.ot import solve_batch as geomloss_solve
        from ot.batch import solve_batch as pot_solve
    except ImportError as error:
        raise InputError(
            f"parts has 'transport', which needs {error.name}: pip install 'sct_hf[benchmark]', or leave it out"
        ) from error

    def pot(similarity: Tensor, *, grad: str) -> Tensor:
        # A tolerance of 0 is never reached.
        solved = pot_solve(1 - similarity, TEMPERATURE, max_iter=ITERATIONS, tol=0.0, method="log_sinkhorn", grad=grad)
        return solved.value.mean()

    return {
        REFERENCE: lambda similarity: transport_loss(similarity, temperature=TEMPERATURE),
        COST: lambda similarity: (1 - similarity).mean(),
        "POT, autodiff": partial(pot, grad="autodiff"),
        "POT, envelope": partial(pot, grad="envelope"),
        "GeomLoss": lambda similarity: geomloss_solve(
            1 - similarity, reg=TEMPERATURE, max_iter=ITERATIONS
        ).value.mean(),
    }


def measure_transport(
    device: str,
    *,
    label_counts: list[int],
    batch_size: int,
    regions: int = 196,
    width: int = 256,
    rounds: int,
    budget: float,
) -> list[dict[str, Any]]:
    """Measure forward and backward of each loss, in turns, in float32: from features, and from a similarity.

    Args:
        device: Name of the device.
        label_counts: Numbers of labels C.
        batch_size: Images B.
        regions: Regions P; 448 px have 196.
        width: Width D of the features.
        rounds: Measurements of each loss.
        budget: Seconds for the rounds of one number of labels, see `interleaved`.

    Returns:
        A row for each C and loss: time from features (B, P, D) and (B, C, D) to their gradients in ms, and from a
        similarity (B, P, C) to its gradient, each with its ratio to conditional transport's; and peak memory from
        features in MB (10⁶ bytes) on top of them, in total and per label.

    Raises:
        InputError: POT or GeomLoss is not installed.
    """
    rows = []
    for count in label_counts:
        generator = torch.Generator().manual_seed(0)
        features = [
            torch.randn(batch_size, tokens, width, generator=generator).to(device).requires_grad_()
            for tokens in (regions, count)
        ]
        with torch.no_grad():
            similarity = cosine_similarity(*features)
        similarity.requires_grad_()
        whole = {name: Case(partial(_from_features, loss, *features)) for name, loss in losses().items()}
        given = {f"{name}, given": Case(partial(_on_given, loss, similarity)) for name, loss in losses().items()}
        times = interleaved(whole | given, rounds=rounds, budget=budget)
        for name, case in whole.items():
            peak = peak_memory(case, torch.device(device)) / _MEGABYTE
            rows.append(
                {"device": device, "batch_size": batch_size, "regions": regions, "width": width, "labels": count}
                | {"loss": name, "rounds": len(times[name].seconds)}
                | columns("forward_backward", times[name], times[REFERENCE])
                | columns("given_cost", times[f"{name}, given"], times[f"{REFERENCE}, given"])
                | {"peak_MB": peak, "peak_MB_per_label": peak / count}
            )
        gc.collect()
    return rows


def _from_features(loss: Loss, regions: Tensor, labels: Tensor) -> None:
    regions.grad = labels.grad = None
    loss(cosine_similarity(regions, labels)).backward()


def _on_given(loss: Loss, similarity: Tensor) -> None:
    similarity.grad = None
    loss(similarity).backward()
