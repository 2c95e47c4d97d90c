"""Time and memory of the heads: on given maps, and in the whole model."""

import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sct_hf.benchmark.cost import model_cost
from sct_hf.benchmark.timing import Case, Times, columns, interleaved, peak_memory
from sct_hf.errors import InputError
from sct_hf.factory import build_model
from sct_hf.label_text.encoders import encode_labels
from sct_hf.peers.registry import HEADS, holds_classes
from sct_hf.progress import progress_bar

REFERENCE = "linear"
LEAN = "sct_lean"
_RECOMPILE_LIMIT = 256
ALL_HEADS = ("sct", LEAN, *HEADS)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MODES = ("eager", "compiled")
PARTS = ("head_forward", "head_step", "model_forward", "model_step")
_MEGABYTE = 1e6
_CLASSES = 1000


@dataclass(frozen=True)
class Setting:
    """Setting of the heads: a backbone, the side of its square images in pixels, and the number of labels."""

    backbone: str
    pixels: int
    labels: int

    @classmethod
    def parse(cls, text: str) -> "Setting":
        """Read "backbone:pixels:labels".

        Raises:
            InputError: The text has another form.
        """
        name, *numbers = text.split(":")
        if not name or len(numbers) != 2 or not all(number.isdigit() and int(number) > 0 for number in numbers):
            raise InputError(f"settings has {text!r}: give backbone:pixels:labels, such as resnet101:448:80")
        return cls(name, int(numbers[0]), int(numbers[1]))


@dataclass(frozen=True)
class Condition:
    """The condition of a measurement.

    Attributes:
        device: Name of the device.
        dtype: A key of `DTYPES`; other than float32, the dtype of autocast over float32 weights.
        mode: "eager", or "compiled" with torch.compile.
        batch_size: Images per batch.
    """

    device: str
    dtype: str
    mode: str
    batch_size: int


def measure_heads(
    setting: Setting,
    conditions: list[Condition],
    *,
    heads: list[str],
    lean: dict[str, Any],
    rounds: int,
    budget: float,
) -> list[dict[str, Any]]:
    """Measure heads with random weights, those of one condition in turns.

    Args:
        setting: Backbone, image size and number of labels.
        conditions: The conditions, one after another.
        heads: Some of `ALL_HEADS`, `REFERENCE` among them.
        lean: Fields of `SCTConfig` of the head `LEAN`.
        rounds: Measurements of each call.
        budget: Seconds for the rounds of a condition, see `interleaved`.

    Returns:
        A row for each condition and head: parameters and GFLOP of one image; and for each of `PARTS` the time in ms,
        its ratio to the linear head's, and peak memory in MB (10⁶ bytes) on top of weights and optimizer state.
        head_forward: inference on given maps. head_step: forward, loss and backward on given maps, to their gradient.
        model_forward: inference on images. model_step: forward, loss, backward and AdamW step. share_forward and
        share_step: the head's share of the model's time, without the optimizer's.
    """
    rows = []
    for condition in progress_bar(conditions, shown=True, desc=f"heads on {setting.backbone}"):
        torch.compiler.reset()
        # The heads share code, and what is compiled is counted by code: past the limit a head would stay eager.
        torch._dynamo.config.recompile_limit = _RECOMPILE_LIMIT
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        models = _models(setting, heads, lean, torch.device(condition.device))
        benches = {head: _Bench(model, setting, condition) for head, model in models.items()}
        cases = {f"{head} {part}": case for head in heads for part, case in benches[head].cases().items()}
        times = interleaved(cases, rounds=rounds, budget=budget)
        for head in heads:
            own = {part: times[f"{head} {part}"] for part in PARTS}
            reference = {part: times[f"{REFERENCE} {part}"] for part in PARTS}
            row = asdict(setting) | asdict(condition) | {"head": head, **_cost(models[head])}
            row |= _figures(own, reference)
            for part in PARTS:
                peak = peak_memory(cases[f"{head} {part}"], torch.device(condition.device))
                row[f"{part}_peak_MB"] = peak / _MEGABYTE
            rows.append(row)
        del models, benches, cases
        gc.collect()
    return rows


def _figures(own: dict[str, Times], reference: dict[str, Times]) -> dict[str, Any]:
    row: dict[str, Any] = {"rounds": len(own["model_step"].seconds)}
    for part in PARTS:
        row |= columns(part, own[part], reference[part])
    row["share_forward"] = own["head_forward"].ratio_to(own["model_forward"])
    row["share_step"] = own["head_step"].ratio_to(own["model_step"])
    return row


def _cost(model: Any) -> dict[str, Any]:
    cost = model_cost(model)
    return {
        "head_parameters": cost.head_parameters,
        "parameters": cost.parameters,
        "head_gflop": cost.head_gflop,
        "gflop": cost.gflop,
    }


def _models(setting: Setting, heads: list[str], lean: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """A model for each head, all on one backbone."""
    names = [f"label_{number}" for number in range(setting.labels)]
    text = encode_labels(names, "random")
    shared = build_model(setting.backbone, names, image_size=setting.pixels, head=REFERENCE).backbone
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(setting.labels, shared.num_features, generator=generator)
    class_vectors = torch.randn(_CLASSES, shared.num_features, generator=generator)
    shares = torch.rand(setting.labels, _CLASSES, generator=generator)
    models: dict[str, Any] = {}
    for head in heads:
        kind, options = ("sct", lean) if head == LEAN else (head, {})
        if holds_classes(kind):
            options = {"label_prototypes": shares, "class_vectors": class_vectors}
        elif kind == "sct":
            options = options | {"label_prototypes": prototypes}
        torch.manual_seed(0)
        model: Any = build_model(
            setting.backbone,
            names,
            image_size=setting.pixels,
            head=kind,
            label_vectors=text,
            **options,
        )
        model.backbone.timm_model = shared.timm_model
        models[head] = model.to(device)
    return models


class _Bench:
    """The measured calls of one model under one condition."""

    def __init__(self, model: Any, setting: Setting, condition: Condition) -> None:
        self.model, self.condition = model, condition
        device, count = torch.device(condition.device), condition.batch_size
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(count, 3, setting.pixels, setting.pixels, generator=generator)
        self.images = images.to(device).contiguous(memory_format=torch.channels_last)
        targets = torch.rand(count, setting.labels, generator=generator) < 3 / setting.labels
        self.targets = targets.float().to(device)  # (B, C)
        with torch.inference_mode():
            shape = model.backbone.eval()(self.images).shape  # (B, D₀, H, W)
        self.features = (
            torch.randn(shape, generator=generator).to(device).contiguous(memory_format=torch.channels_last)
        )
        self.call: Callable[..., Any] = torch.compile(model, dynamic=False) if condition.mode == "compiled" else model
        # A rate of 0 leaves the weights as they are, and costs what any other does.
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)

    def cases(self) -> dict[str, Case]:
        """The calls of `PARTS`."""
        maps = {"backbone_features": self.features}
        images = {"pixel_values": self.images}
        return {
            "head_forward": Case(lambda: self._forward(maps), self.model.eval),
            "head_step": Case(self._head_step, self.model.train),
            "model_forward": Case(lambda: self._forward(images), self.model.eval),
            "model_step": Case(lambda: self._model_step(images), self.model.train),
        }

    def _autocast(self) -> torch.autocast:
        dtype = DTYPES[self.condition.dtype]
        return torch.autocast(self.condition.device.split(":")[0], dtype=dtype, enabled=dtype != torch.float32)

    def _forward(self, inputs: dict[str, Tensor]) -> None:
        with torch.no_grad(), self._autocast():
            self.call(**inputs)

    def _backward(self, inputs: dict[str, Tensor]) -> None:
        with self._autocast():
            loss = self.call(**inputs, labels=self.targets).loss
        loss.backward()

    def _head_step(self) -> None:
        self._backward({"backbone_features": self.features.detach().requires_grad_()})
        self.optimizer.zero_grad()

    def _model_step(self, inputs: dict[str, Tensor]) -> None:
        self._backward(inputs)
        self.optimizer.step()
        self.optimizer.zero_grad()
