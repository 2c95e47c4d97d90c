"""The error for bad input from a user."""

from sct_hf.escaping import in_lines


class InputError(ValueError):
    """Bad input. The message names the field, the value and the remedy.

    `str` escapes unprintable characters, so a message may quote names and paths unchanged.
    """

    def __str__(self) -> str:
        return in_lines(super().__str__())
