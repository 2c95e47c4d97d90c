"""Conditional transport in plain Python, and inputs to compare on."""

import math

import hypothesis.extra.numpy as arrays
import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

Rows = list[list[float]]


def unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length > 0 else [0.0 for _ in vector]


def shares(exponents: list[float], weights: list[float]) -> list[float]:
    """weights·exp(exponents), normalised to sum 1."""
    top = max(e for e, w in zip(exponents, weights, strict=True) if w > 0)
    masses = [w * math.exp(e - top) if w > 0 else 0.0 for e, w in zip(exponents, weights, strict=True)]
    return [mass / sum(masses) for mass in masses]


def reference_image(
    regions: Rows,
    labels: Rows,
    temperature: float,
    region_log_prior: Rows | None,
    label_log_prior: Rows | None,
    region_weights: list[float] | None,
    label_weights: list[float] | None,
    rho: float,
) -> tuple[Rows, Rows, Rows, float]:
    """Cost, forward plan, backward plan (each P x C) and loss of one image; no plan (NaN) where all weights are 0."""
    num_regions, num_labels = len(regions), len(labels)
    u, v = [unit(x) for x in regions], [unit(f) for f in labels]
    a = region_weights or [1.0] * num_regions
    q = label_weights or [1.0] * num_labels
    if sum(a) == 0 or sum(q) == 0:
        nothing = [[math.nan] * num_labels for _ in range(num_regions)]
        return nothing, nothing, nothing, 0.0
    a, q = [w / sum(a) for w in a], [w / sum(q) for w in q]
    dot = [
        [sum(s * t for s, t in zip(u[p], v[k], strict=True)) for k in range(num_labels)] for p in range(num_regions)
    ]
    cost = [[1 - dot[p][k] for k in range(num_labels)] for p in range(num_regions)]

    forward = []
    for p in range(num_regions):
        prior = label_log_prior[p] if label_log_prior else [0.0] * num_labels
        forward.append(shares([dot[p][k] / temperature + prior[k] for k in range(num_labels)], q))
    backward = [[0.0] * num_labels for _ in range(num_regions)]
    for k in range(num_labels):
        prior = [row[k] for row in region_log_prior] if region_log_prior else [0.0] * num_regions
        column = shares([dot[p][k] / temperature + prior[p] for p in range(num_regions)], a)
        for p in range(num_regions):
            backward[p][k] = column[p]

    loss = 0.0
    for p in range(num_regions):
        for k in range(num_labels):
            loss += rho * a[p] * forward[p][k] * cost[p][k] + (1 - rho) * q[k] * backward[p][k] * cost[p][k]
    return cost, forward, backward, loss


def reference(regions: Tensor, labels: Tensor, *, temperature: float, rho: float = 0.5, **optional: Tensor | None):
    """`reference_image` over the batch, the loss its mean."""

    def nested(name: str, image: int):
        value = optional.get(name)
        return None if value is None else value[image].double().tolist()

    images = [
        reference_image(
            regions[i].double().tolist(),
            labels[i].double().tolist(),
            temperature,
            nested("region_log_prior", i),
            nested("label_log_prior", i),
            nested("region_weights", i),
            nested("label_weights", i),
            rho,
        )
        for i in range(len(regions))
    ]
    cost, forward, backward, losses = (
        torch.tensor([image[n] for image in images], dtype=torch.float64) for n in range(4)
    )
    return cost, forward, backward, losses.mean()


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_same(result, expected, atol: float = 1e-12) -> None:
    for value, reference_value in zip(
        (result.cost, result.forward_plan, result.backward_plan, result.loss), expected, strict=True
    ):
        assert value.shape == reference_value.shape
        torch.testing.assert_close(value.double(), reference_value, rtol=0, atol=atol)


def everything(num_images: int = 3, num_regions: int = 5, num_labels: int = 4, width: int = 6) -> dict[str, Tensor]:
    """Random inputs with both priors and both weights, some weights 0."""
    region_weights = draw(num_images, num_regions, seed=5).abs()
    label_weights = draw(num_images, num_labels, seed=6).abs()
    region_weights[0, 1] = 0
    label_weights[1, :2] = 0
    return {
        "regions": draw(num_images, num_regions, width, seed=1),
        "labels": draw(num_images, num_labels, width, seed=2),
        "region_log_prior": draw(num_images, num_regions, num_labels, seed=3).log_softmax(1),
        "label_log_prior": draw(num_images, num_regions, num_labels, seed=4).log_softmax(2),
        "region_weights": region_weights,
        "label_weights": label_weights,
    }


@st.composite
def problems(draw_value) -> dict:
    num_images, num_regions, num_labels, width = (draw_value(st.integers(1, high)) for high in (2, 5, 4, 4))

    def numbers(*shape: int, low: float = -10.0, high: float = 10.0) -> Tensor:
        values = draw_value(arrays.arrays(np.float64, shape, elements=st.floats(low, high, width=32)))
        return torch.from_numpy(values.astype(np.float64))

    pairs = (num_images, num_regions, num_labels)
    return {
        "regions": numbers(num_images, num_regions, width),
        "labels": numbers(num_images, num_labels, width),
        "region_log_prior": numbers(*pairs),
        "label_log_prior": numbers(*pairs),
        "region_weights": numbers(num_images, num_regions, low=0.0),
        "label_weights": numbers(num_images, num_labels, low=0.0),
        "temperature": draw_value(st.floats(1e-3, 10)),
        "rho": draw_value(st.floats(0, 1)),
    }
