"""The losses of training: parts around a model, each a registered class of this package or another.

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

from torch import Tensor, nn

from sct_hf.data.label_counts import LabelCounts
from sct_hf.model.outputs_sct import weighted_sum
from sct_hf.options import CheckedOptions
from sct_hf.peers.registry import require_free_name


@dataclass(frozen=True)
class Step:
    """One training batch after the forward pass: the material of the losses.

    Attributes:
        model: The model, not wrapped for several processes.
        inputs: Its inputs by name: `pixel_values` (B, 3, S_h, S_w) or `backbone_features` (B, D₀, H, W), and those
            that parts added.
        labels: Targets (B, C): 1, 0, soft values in [0, 1], −1 or NaN unknown.
        vocabulary: The model's labels, from `model.vocabulary()`.
        match: The result of `model.match`.
        branches: Logits (B, C) by branch.
        logits: Fused logits (B, C), before a hierarchy raises them.
        focus: Arguments of `asymmetric_loss`.
        progress: Share of the training steps done, in [0, 1].
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
    """What `Objective.from_options` may use besides its options.

    Attributes:
        model: The model to train, not wrapped for several processes.
        teacher: Returns the model with the averaged weights, in evaluation mode.
        counts: How often each label is present, absent and unknown in the training images.
        label_names: The C labels.
        options: Options of all objectives by name; missing ones get their defaults.
        seed: Seed of the run.
        say: Prints one line to the user.
        earlier: The parts made so far.
    """

    model: Any
    teacher: Callable[[], Any]
    counts: LabelCounts
    label_names: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    say: Callable[[str], None] = print
    earlier: "tuple[Objective, ...]" = ()

    def options_of(self, name: str) -> Any:
        """The options of the objective `name`."""
        return self.options[name] if name in self.options else OBJECTIVES[name].Options()

    def left_out(self, option: str) -> None:
        """Tell the user that `option` does not apply to this model."""
        self.say(f"{option} needs --head sct: {type(self.model).__name__} is trained without it")


@dataclass
class NoOptions(CheckedOptions):
    """The empty options of a part that has none."""


class Objective(nn.Module):
    """A part of the training loss. Its parameters are trained with the model's.

    A subclass does not keep the model as a submodule: `Step` holds it.

    Attributes:
        Options (`type`): A dataclass of options, each made with `sct_hf.options.option`.
        rank (`int`): Parts of lower rank run first. Ranks 0 and 1 also score images with erased regions.
        needs_teacher (`bool`): Whether it uses the averaged weights; processes then keep them equal.
        treatment (`str`, *optional*): The value of `--unknown_labels` that asks for the part.
    """

    Options: ClassVar[type] = NoOptions
    rank: ClassVar[int] = 1
    needs_teacher: ClassVar[bool] = False
    treatment: ClassVar[str | None] = None

    @classmethod
    def check_arguments(cls, options: Any, arguments: Any) -> None:
        """Check the options against the other arguments, before any data is read. The default accepts all.

        Raises:
            InputError: They contradict each other.
        """

    @classmethod
    def from_options(cls, options: Any, context: Context) -> "Objective | None":
        """Make the part, or return None if its options do not ask for it.

        Raises:
            InputError: The options do not fit the model or the data.
        """
        raise NotImplementedError

    def prepare(self, inputs: dict[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return changed inputs and targets (B, C) before the model runs. The default changes nothing."""
        return inputs, labels

    def focus(self, focus: dict[str, Any]) -> dict[str, Any]:
        """Return changed arguments of every asymmetric loss. The default changes nothing."""
        return focus

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Losses by name: unweighted float32 scalars. The default has none."""
        return {}

    def weights(self, progress: float) -> dict[str, float]:
        """Weights of the losses at `progress`, the share of the training steps done. A missing one is 1."""
        return {}


Part = TypeVar("Part", bound=type[Objective])

OBJECTIVES: dict[str, type[Objective]] = {}
"""Objectives by name, as `register_objective` fills it."""


def register_objective(name: str) -> Callable[[Part], Part]:
    """Register a class as an objective of training. Its options join those of training.

    Args:
        name: A name that no other class has.

    Raises:
        ValueError: Another class has this name.
    """

    def register(objective: Part) -> Part:
        require_free_name("objective", name, objective, OBJECTIVES.get(name))
        OBJECTIVES[name] = objective
        return objective

    return register


def take_step(
    model: Any, inputs: Mapping[str, Tensor], labels: Tensor, focus: dict[str, Any], progress: float
) -> Step:
    """Run a model on the inputs of a `Step`. Inputs other than images and maps are passed to `match` by name."""
    vocabulary = model.vocabulary()
    images, features = inputs.get("pixel_values"), inputs.get("backbone_features")
    more = {name: value for name, value in inputs.items() if name not in ("pixel_values", "backbone_features")}
    match = model.match(images, features, vocabulary, **more)
    branches = model.branches(match, vocabulary)
    logits = model.fuse(branches, vocabulary)
    return Step(model, inputs, labels, vocabulary, match, branches, logits, focus, progress)


def total_loss(parts: Iterable[Objective], step: Step) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the parts' losses, and the unweighted losses by name.

    Raises:
        ValueError: Two parts have a loss of the same name.
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
    """A model in training with the parts of its loss. Only the model is saved in the end.

    Args:
        model: The model, not wrapped for several processes, with `match`, `branches`, `fuse` and `vocabulary`.
        parts: The parts, in the order in which they prepare batches and compute losses.
    """

    def __init__(self, model: Any, parts: Iterable[Objective]) -> None:
        super().__init__()
        self.model = model
        self.parts = nn.ModuleList(parts)

    @property
    def backbone(self) -> Any:
        """The configuration of the model."""
        return self.model.backbone

    @property
    def needs_teacher(self) -> bool:
        """Whether a loss uses the averaged weights."""
        return any(part.needs_teacher for part in self._parts())

    def _parts(self) -> list[Objective]:
        return [part for part in self.parts if isinstance(part, Objective)]

    def forward(self, labels: Tensor, progress: float, **inputs: Tensor) -> dict[str, Tensor]:
        """Compute the losses of a batch. The model runs once for all parts.

        Args:
            labels: Targets (B, C): 1, 0, soft values in [0, 1], −1 or NaN unknown.
            progress: Share of the training steps done, in [0, 1].
            **inputs: `pixel_values` (B, 3, S_h, S_w) or `backbone_features` (B, D₀, H, W).

        Returns:
            Float32 scalars: each loss by name, unweighted, and "loss", their weighted sum.

        Raises:
            ValueError: Inputs or targets have a wrong shape, or two parts have a loss of the same name.
        """
        parts = self._parts()
        focus = self.model.config.focus
        for part in parts:
            inputs, labels = part.prepare(inputs, labels)
            focus = part.focus(focus)
        total, losses = total_loss(parts, take_step(self.model, inputs, labels, focus, progress))
        return {**losses, "loss": total}


def make_objective(context: Context) -> TrainingObjective:
    """Make the objective of a run from every registered part that its options ask for.

    Raises:
        InputError: Options do not fit the model or the data.
    """
    parts: list[Objective] = []
    for name, kind in sorted(OBJECTIVES.items(), key=lambda item: item[1].rank):
        part = kind.from_options(context.options_of(name), replace(context, earlier=tuple(parts)))
        if part is not None:
            parts.append(part)
    return TrainingObjective(context.model, parts)
