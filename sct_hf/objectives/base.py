"""The losses of training as parts around a model, each a class that registers itself, in this package or elsewhere.

@register_objective("toy")
class Toy(Objective):
    Options = ToyOptions  # a dataclass made with sct_hf.options.option; its options join train's command line
    @classmethod
    def from_options(cls, options, context): return cls(options.toy_weight) if options.toy_weight else None
    def forward(self, step): return {"toy": step.logits.square().mean()}
    def weights(self, progress): return {"toy": self.weight}
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor, nn

from sct_hf.model.losses_sct import weighted_sum
from sct_hf.options import CheckedOptions
from sct_hf.peers.registry import require_free_name


@dataclass(frozen=True)
class Step:
    """A run of the model on a batch in training, and what losses are made of.

    Attributes:
        model: The model, not wrapped for several processes.
        inputs: What it was given by name: `pixel_values` (B, 3, S_h, S_w) or `backbone_features` (B, D₀, H, W), and
            what parts added.
        labels: Targets (B, C): 1, 0, soft values in [0, 1], −1 or NaN unknown.
        vocabulary: The model's labels, as `model.vocabulary()` gives them.
        match: What `model.match` gave.
        branches: Logits (B, C) of each branch.
        logits: (B, C), fused of these, not raised by a hierarchy.
        focus: Arguments of `asymmetric_loss`.
        progress: Share of the steps of training that are done.
    """

    model: Any
    inputs: Mapping[str, Tensor]
    labels: Tensor
    vocabulary: Any
    match: Any
    branches: dict[str, Tensor]
    logits: Tensor
    focus: dict[str, Any]
    progress: float


@dataclass(frozen=True)
class Context:
    """What parts are made of beside their options.

    Attributes:
        model: The model to train, not wrapped for several processes.
        teacher: Gives the model with the averaged weights, in evaluation mode.
        targets: (N, C) of all training images: 1, 0, soft values, −1 or NaN unknown.
        label_names: The C labels.
        options: Options of all objectives by name; those that are left out have their defaults.
        seed: Of the run.
        say: Tells the user one line.
        earlier: The parts made so far.
    """

    model: Any
    teacher: Callable[[], Any]
    targets: np.ndarray
    label_names: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    say: Callable[[str], None] = print
    earlier: "tuple[Objective, ...]" = ()

    def options_of(self, name: str) -> Any:
        """The options of the objective of that name."""
        return self.options[name] if name in self.options else OBJECTIVES[name].Options()

    def left_out(self, option: str) -> None:
        """Tell the user that the model has nothing that an option could be applied to."""
        self.say(f"{option} is of sct: {type(self.model).__name__} is trained without it")


@dataclass
class NoOptions(CheckedOptions):
    """Of a part that has none."""


class Objective(nn.Module):
    """A part of the losses of training. Parameters that it holds are trained beside the model's.

    A subclass keeps no reference to the model as a module of its own: `Step` brings it.

    Attributes:
        Options (`type`): A dataclass of options, each made with `sct_hf.options.option`.
        rank (`int`): Parts of lower rank come first; those of rank 0 and 1 also judge images with erased regions.
        needs_teacher (`bool`): Whether the averaged weights take part, which processes then keep alike.
        treatment (`str`, *optional*): The value of `--unknown_labels` that asks for the part, if one does.
    """

    Options: ClassVar[type] = NoOptions
    rank: ClassVar[int] = 1
    needs_teacher: ClassVar[bool] = False
    treatment: ClassVar[str | None] = None

    @classmethod
    def check_arguments(cls, options: Any, arguments: Any) -> None:
        """Check its options beside the other arguments of a run, before anything is read; by default nothing.

        Raises:
            InputError: They do not go together.
        """

    @classmethod
    def from_options(cls, options: Any, context: Context) -> "Objective | None":
        """Make the part, or nothing where its options do not ask for it.

        Raises:
            InputError: Options that do not suit the model or the data.
        """
        raise NotImplementedError

    def prepare(self, inputs: dict[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Change inputs and targets (B, C) before the model runs; by default nothing."""
        return inputs, labels

    def focus(self, focus: dict[str, Any]) -> dict[str, Any]:
        """Change the arguments of every asymmetric loss; by default nothing."""
        return focus

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Losses by name, unweighted scalars in float32; by default none."""
        return {}

    def weights(self, progress: float) -> dict[str, float]:
        """Weights of these losses at a share of the steps of training; a loss that is not named weighs 1."""
        return {}


Part = TypeVar("Part", bound=type[Objective])

OBJECTIVES: dict[str, type[Objective]] = {}
"""Objectives by name, as `register_objective` fills it."""


def register_objective(name: str) -> Callable[[Part], Part]:
    """Register a class as an objective of training, whose options join those of scripts/train.py.

    Args:
        name: Not one that another class has.

    Raises:
        ValueError: Another class is registered by that name.
    """

    def register(objective: Part) -> Part:
        require_free_name("objective", name, objective, OBJECTIVES.get(name))
        OBJECTIVES[name] = objective
        return objective

    return register


def take_step(
    model: Any, inputs: Mapping[str, Tensor], labels: Tensor, focus: dict[str, Any], progress: float
) -> Step:
    """Run a model on the inputs of a `Step`; what is neither images nor a map goes to its `match` by name."""
    vocabulary = model.vocabulary()
    images, features = inputs.get("pixel_values"), inputs.get("backbone_features")
    more = {name: value for name, value in inputs.items() if name not in ("pixel_values", "backbone_features")}
    match = model.match(images, features, vocabulary, **more)
    branches = model.branches(match, vocabulary)
    logits = model.fuse(branches, vocabulary)
    return Step(model, inputs, labels, vocabulary, match, branches, logits, focus, progress)


def total_loss(parts: Iterable[Objective], step: Step) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the losses of parts, and the losses by name, unweighted.

    Raises:
        ValueError: Two parts give losses of one name.
    """
    losses: dict[str, Tensor] = {}
    weights: dict[str, float] = {}
    for part in parts:
        found = part(step)
        if twice := sorted(losses.keys() & found.keys()):
            raise ValueError(f"{type(part).__name__} gives the loss {twice[0]!r}, as another part does: rename one.")
        losses |= found
        weights |= part.weights(step.progress)
    return weighted_sum(losses, weights), losses


class TrainingObjective(nn.Module):
    """A model in training and the parts of its loss; what is saved in the end is the model alone.

    Args:
        model: The model, not wrapped for several processes: it has `match`, `branches`, `fuse`, `vocabulary`.
        parts: In the order in which they prepare batches and give losses.
    """

    def __init__(self, model: Any, parts: Iterable[Objective]) -> None:
        super().__init__()
        self.model = model
        self.parts = nn.ModuleList(parts)

    @property
    def backbone(self) -> Any:
        """The model's."""
        return self.model.backbone

    @property
    def needs_teacher(self) -> bool:
        """Whether the averaged weights take part in a loss."""
        return any(part.needs_teacher for part in self._parts())

    def _parts(self) -> list[Objective]:
        return [part for part in self.parts if isinstance(part, Objective)]

    def forward(self, labels: Tensor, progress: float, **inputs: Tensor) -> dict[str, Tensor]:
        """Compute the losses of a batch, the model run once for all parts.

        Args:
            labels: Targets (B, C): 1, 0, soft values in [0, 1], −1 or NaN unknown.
            progress: Share of the steps of training that are done.
            **inputs: `pixel_values` (B, 3, S_h, S_w) or `backbone_features` (B, D₀, H, W).

        Returns:
            Scalars, float32: each loss by name, unweighted, and "loss", their weighted sum.

        Raises:
            ValueError: Inputs or targets of a wrong shape, or two parts that give losses of one name.
        """
        parts = self._parts()
        focus = self.model.config.focus
        for part in parts:
            inputs, labels = part.prepare(inputs, labels)
            focus = part.focus(focus)
        total, losses = total_loss(parts, take_step(self.model, inputs, labels, focus, progress))
        return {**losses, "loss": total}


def make_objective(context: Context) -> TrainingObjective:
    """Make the objective of a run, of every registered part that its options ask for.

    Raises:
        InputError: Options that do not suit the model or the data.
    """
    parts: list[Objective] = []
    for name, kind in sorted(OBJECTIVES.items(), key=lambda item: item[1].rank):
        part = kind.from_options(context.options_of(name), replace(context, earlier=tuple(parts)))
        if part is not None:
            parts.append(part)
    return TrainingObjective(context.model, parts)
