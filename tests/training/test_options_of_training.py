"""The options of training as a set: what each knows, how many there are, and how --help shows them."""

import re
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pytest

from sct_hf.benchmark.ablation import AblationArguments
from sct_hf.benchmark.accuracy import AccuracyArguments
from sct_hf.benchmark.partial import PartialArguments
from sct_hf.benchmark.speed import SpeedArguments
from sct_hf.cli.check import CheckArguments
from sct_hf.cli.hide import OutputArguments
from sct_hf.cli.learning_curve import CurveArguments
from sct_hf.export.arguments import ExportArguments
from sct_hf.objectives.base import OBJECTIVES, Objective
from sct_hf.options import CheckedOptions, default_of, facts_of, option, options_of
from sct_hf.training.arguments import Arguments, ScoringArguments, training_options
from sct_hf.training.calibration_arguments import CalibrationArguments
from sct_hf.training.identity import run_identity
from sct_hf.training.option_parser import OptionParser
from sct_hf.training.parsing import RecipeArguments, parse, parse_into

MOST = 90
TRAINING = (RecipeArguments, *training_options())
OTHERS = (ExportArguments, ScoringArguments, AccuracyArguments, AblationArguments, PartialArguments, SpeedArguments)
EVERY = (*TRAINING, *OTHERS, CalibrationArguments, CheckArguments, CurveArguments, OutputArguments)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_field_has_its_facts(kind: Any) -> None:
    assert is_dataclass(kind)
    for one in fields(kind):
        facts = facts_of(one)
        assert facts.help.endswith((".", "!"))
        assert facts.group
        assert facts.identity or facts.card == "never"  # a card tells what decides what is learnt
        assert (default_of(one) is None) == (facts.unset is not None)


def test_every_class_of_options_is_held_to_that() -> None:
    def below(kind: type) -> set[type]:
        return {kind, *(one for child in kind.__subclasses__() for one in below(child))}

    known = {kind for kind in below(CheckedOptions) if kind.__module__.split(".")[0] == "sct_hf"}
    bases = {base for kind in EVERY for base in kind.__mro__}
    assert known <= {*EVERY, *bases}


def shown(text: str) -> list[str]:
    """Names of the options that --help lists."""
    return re.findall(r"^  --([a-z_]+)", text, flags=re.MULTILINE)


def test_help_has_groups_and_no_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_into(["--help"], *TRAINING)
    text = capsys.readouterr().out
    listed = shown(text)
    assert sorted(listed) == sorted(options_of(*TRAINING))
    assert len(listed) <= MOST
    assert "None" not in text
    assert " ".join(text.split()).count("(default: ") == len(listed)
    groups = {facts.group for _, facts in options_of(*TRAINING).values()}
    titles = re.findall(r"^([a-z ]+):$", text, flags=re.MULTILINE)
    assert sorted(titles) == sorted([*groups, "options"])
    assert len(groups) >= 8
    sizes = [sum(facts.group == group for _, facts in options_of(*TRAINING).values()) for group in groups]
    assert max(sizes) <= 18


def test_every_default_is_accepted_by_its_own_command_line() -> None:
    parser = OptionParser(training_options())
    defaults = parser.parse_args_into_dataclasses([], look_for_args_file=False)
    assert Arguments.of(defaults) == Arguments.of(tuple(kind() for kind in training_options()))


@dataclass
class ToyOptions(CheckedOptions):
    toy_weight: float = option(0.0, "Weight of the toy.", group="toys", within=">= 0")
    toy_log: bool = option(False, "Print the toy.", group="toys", identity=False, card="never")


class Toy(Objective):
    """An objective from elsewhere: only its options matter here."""

    Options = ToyOptions


def test_an_objective_from_elsewhere_brings_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_identity(parse(["--dataset", "voc2007"]))
    monkeypatch.setitem(OBJECTIVES, "toy", Toy)
    plain = parse(["--dataset", "voc2007"])
    assert plain.objectives["toy"] == ToyOptions()
    assert run_identity(plain) == before | {"toy_weight": 0.0}
    arguments = parse(["--dataset", "voc2007", "--toy_weight=0.5", "--toy_log"])
    assert arguments.objectives["toy"].toy_weight == 0.5
    assert "--toy_weight=0.5" in arguments.command()
    assert parse(arguments.command()[2:]) == arguments
    assert arguments.with_values({"toy_weight": 2.0}).objectives["toy"].toy_weight == 2.0
    assert arguments.to_dict()["toy_log"] is True
