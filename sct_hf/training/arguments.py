"""All arguments of a training run."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sct_hf.objectives.base import OBJECTIVES
from sct_hf.options import default_of, options_of, require
from sct_hf.training.data_arguments import HELD_OUT, NO_AUGMENTATION, DataArguments, EvaluationDataArguments
from sct_hf.training.model_arguments import ModelArguments
from sct_hf.training.model_settings import setting_word
from sct_hf.training.scoring_arguments import ScoringArguments
from sct_hf.training.train_arguments import TrainArguments

__all__ = [
    "HELD_OUT",
    "NO_AUGMENTATION",
    "Arguments",
    "DataArguments",
    "EvaluationDataArguments",
    "ModelArguments",
    "ScoringArguments",
    "TrainArguments",
    "option_defaults",
    "training_options",
]


@dataclass(frozen=True)
class Arguments:
    """All arguments of a run.

    Attributes:
        data: Options of the images and labels.
        model: Options of the model.
        train: Options of the schedule, the optimizer and the records.
        objectives: Options of each registered objective by name; missing ones get their defaults.
    """

    data: DataArguments
    model: ModelArguments
    train: TrainArguments
    objectives: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = {name: self.objectives.get(name) or kind() for name, kind in _objective_options().items()}
        object.__setattr__(self, "objectives", made)
        source, target = self.model.init_checkpoint, Path(self.train.output_dir).resolve()
        apart = source is None or not Path(source).resolve().is_relative_to(target)
        require(apart, "output_dir", self.train.output_dir, "it holds init_checkpoint; choose another folder")
        for name, options in self.objectives.items():
            OBJECTIVES[name].check_arguments(options, self)

    @classmethod
    def of(cls, parts: "tuple[Any, ...]") -> "Arguments":
        """Make arguments from one object of each class in `training_options`, in that order."""
        data, model, train, *objectives = parts
        return cls(data, model, train, dict(zip(_objective_options(), objectives, strict=True)))

    def parts(self) -> Iterator[Any]:
        """The objects with the options: data, model, train, then each objective's."""
        yield from (self.data, self.model, self.train, *self.objectives.values())

    def to_dict(self) -> dict[str, Any]:
        """All options by name."""
        return {name: value for part in self.parts() for name, value in asdict(part).items()}

    def with_values(self, values: Mapping[str, Any]) -> "Arguments":
        """A copy with `values` by option name; names of no option are ignored."""

        def changed(part: Any) -> Any:
            return replace(part, **{name: values[name] for name in options_of(part) if name in values})

        objectives = {name: changed(part) for name, part in self.objectives.items()}
        return Arguments(changed(self.data), changed(self.model), changed(self.train), objectives)

    def command(self) -> list[str]:
        """The words of a command that repeats the run in a new folder, without a recipe."""
        words = ["sct-hf", "train", f"--dataset={self.data.dataset}"]
        for part in self.parts():
            for name, (one, facts) in options_of(part).items():
                value = getattr(part, name)
                if value == default_of(one) or name == "dataset" or not facts.recorded:
                    continue
                words += option_words(name, value)
        return words


def option_words(name: str, value: Any) -> list[str]:
    """An option and its value as words of a command line."""
    if isinstance(value, dict):
        return [f"--{name}", *(setting_word(key, each) for key, each in value.items())]
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}={value}"]


def training_options() -> tuple[type, ...]:
    """The classes of options of training: data, model, training, then each registered objective."""
    return (DataArguments, ModelArguments, TrainArguments, *_objective_options().values())


def option_defaults() -> dict[str, Any]:
    """The default of every option, by its name."""
    return {name: default_of(one) for name, (one, _) in options_of(*training_options()).items()}


def _objective_options() -> dict[str, type]:
    """The options of every registered objective, by the objective's name."""
    return {name: objective.Options for name, objective in OBJECTIVES.items()}
