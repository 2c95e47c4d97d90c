"""The error that bad input of a user raises."""

from sct_hf.escaping import in_lines


class InputError(ValueError):
    """Wrong input: the message names the field, the value and the remedy.

    As text, characters that do not print are escaped: a message may quote names and paths as they are.
    """

    def __str__(self) -> str:
        return in_lines(super().__str__())
