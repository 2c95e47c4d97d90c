"""The error that bad input of a user raises."""


class InputError(ValueError):
    """Wrong input: the message names the field, the value and the remedy."""
