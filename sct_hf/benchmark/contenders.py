"""The compared heads, each with its own settings and a small grid to search.

To add one, add an entry. Settings and grid may name options of the model, fields of the head's configuration,
learning rate and weight decay. Other options are the same for all heads: set them in the recipe.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from sct_hf.benchmark.settings import Settings
from sct_hf.errors import InputError
from sct_hf.options import options_of
from sct_hf.training.arguments import training_options
from sct_hf.training.model_arguments import MODEL

_DECAYS = (1e-2, 1e-1)
# Heads of a few thousand weights get six or eight settings, those with layers of attention four or six, SCT four.
_RATES = {"learning_rate": (3e-3, 1e-2, 3e-2, 1e-1), "weight_decay": _DECAYS}
_LOW_RATES = {"learning_rate": (1e-3, 3e-3), "weight_decay": _DECAYS}
_SCT_RATES = {"learning_rate": (2e-3, 4e-3), "transport_loss_weight": (0.1, 1.0)}
_SCT = {
    **{"head": "sct", "hidden_size": 256, "encoder_ffn_dim": 512, "input_dropout": 0.2, "dropout": 0.2},
    "gamma_neg": 2.0,
}


@dataclass(frozen=True)
class Contender:
    """A head with its settings.

    Attributes:
        title: Name in tables and plots.
        settings: Values by field, fixed.
        grid: Values to choose from by field; the search tries every combination.

    Raises:
        InputError: A field is one that all contenders share.
    """

    title: str
    settings: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=lambda: dict(_RATES))

    def __post_init__(self) -> None:
        for name in [*self.settings, *self.grid]:
            if name in _SHARED:
                raise InputError(
                    f"contender {self.title!r} sets {name!r}, which all heads share: set it in the recipe"
                )

    def candidates(self) -> list[Settings]:
        """Every combination of the grid, the last field varying fastest."""
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]

    def base(self, on_command_line: Collection[str]) -> Settings:
        """Its settings, without those given on the command line.

        Args:
            on_command_line: Names of the options on the command line.
        """
        return {name: value for name, value in self.settings.items() if name not in on_command_line}

    def at_edge(self, chosen: Mapping[str, Any]) -> list[str]:
        """Numeric fields whose chosen value is the smallest or largest of at least three in the grid."""
        return [
            name
            for name, values in self.grid.items()
            if len(values) > 2 and name in chosen and chosen[name] in (min(values), max(values))
        ]


_SHARED = {
    name for name, (_, facts) in options_of(*training_options()).items() if facts.group != MODEL and name not in _RATES
}

CONTENDERS: dict[str, Contender] = {
    "sct": Contender("SCT", _SCT, _SCT_RATES),
    "sct_two_levels": Contender("SCT, two levels", _SCT | {"feature_levels": 2}, _SCT_RATES),
    "sct_faithful": Contender(
        "SCT, full width",
        _SCT | {"hidden_size": 0, "encoder_ffn_dim": 2048},
        {"learning_rate": (1e-3, 2e-3, 4e-3)},
    ),
    "linear": Contender("linear, ASL", {"head": "linear", "gamma_neg": 2.0}),
    "linear_bce": Contender("linear, BCE", {"head": "linear", "gamma_neg": 0.0}),
    "csra": Contender("CSRA", {"head": "csra", "gamma_neg": 2.0}),
    "ml_decoder": Contender("ML-Decoder", {"head": "ml_decoder", "gamma_neg": 2.0}, _LOW_RATES),
    "query2label": Contender(
        "Query2Label",
        {"head": "query2label", "head_kwargs": {"hidden_size": 256, "ffn_dim": 512}, "gamma_neg": 2.0},
        {"learning_rate": (1e-3, 3e-3, 1e-2), "weight_decay": _DECAYS},
    ),
    "bilinear_attention": Contender(
        "bilinear attention",
        {
            "head": "bilinear_attention",
            "head_kwargs": {"hidden_size": 256, "output_size": 512},
            "gamma_neg": 2.0,
        },
        {"learning_rate": (3e-3, 1e-2, 3e-2), "weight_decay": _DECAYS},
    ),
    "patchct": Contender(
        "PatchCT",
        {"head": "patchct", "gamma_neg": 2.0},
        {"learning_rate": (3e-4, 1e-3, 3e-3), "weight_decay": _DECAYS},
    ),
    "recover_match": Contender(
        "Recover and Match",
        {"head": "recover_match", "gamma_neg": 2.0},
        {"learning_rate": (3e-4, 1e-3, 3e-3), "transport_loss_weight": (0.1, 1.0)},
    ),
    "linear_prototypes": Contender("linear + prototypes", {"head": "linear_prototypes", "gamma_neg": 2.0}),
    "csra_prototypes": Contender("CSRA + prototypes", {"head": "csra_prototypes", "gamma_neg": 2.0}),
}


WIDE = "sct_faithful"
"""Takes a quarter of an hour a run where the others take one to three minutes: compared if it is asked for."""


def contender(name: str, option: str = "contender") -> Contender:
    """Look up a contender.

    Args:
        name: Its key in `CONTENDERS`.
        option: The option that names it.

    Raises:
        InputError: There is no contender `name`.
    """
    if name not in CONTENDERS:
        raise InputError(f"{option} has {name!r}: choose from {', '.join(CONTENDERS)}")
    return CONTENDERS[name]
