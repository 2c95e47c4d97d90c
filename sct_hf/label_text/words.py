"""Label names → ordinary words that a text encoder knows."""

from sct_hf.errors import InputError
from sct_hf.model import vocabulary_sct


def label_words(name: str) -> str:
    """Write the name of a label as words, see `sct_hf.model.vocabulary_sct.label_words`.

    Raises:
        InputError: The name has no word.
    """
    try:
        return vocabulary_sct.label_words(name)
    except ValueError as error:
        raise InputError(str(error)) from error
