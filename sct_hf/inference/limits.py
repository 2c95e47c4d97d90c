"""The limits of the pipeline as options of a command."""

import argparse
from dataclasses import fields

from sct_hf.errors import InputError
from sct_hf.model.image_processing_sct import Limits


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add an option for each of the `Limits`."""
    group = parser.add_argument_group("limits")
    for limit in fields(Limits):
        text = f"{limit.metadata['help']} (default %(default)s)."
        group.add_argument(f"--{limit.name}", type=int, default=limit.default, help=text)


def limits_of(arguments: argparse.Namespace) -> Limits:
    """The limits that a command line gives.

    Raises:
        InputError: One is no whole number from 1.
    """
    try:
        return Limits(**{name: getattr(arguments, name) for name in Limits.names()})
    except ValueError as error:
        raise InputError(str(error)) from error
