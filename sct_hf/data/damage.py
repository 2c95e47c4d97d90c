"""What libraries raise on damaged data, as an error that names the option."""

from collections.abc import Iterator
from contextlib import contextmanager

from sct_hf.errors import InputError


@contextmanager
def named_damage(place: str, remedy: str) -> Iterator[None]:
    """Turn what a library raises inside this block into an `InputError`; one that is raised there stays as it is.

    Args:
        place: The option, its value and what is wrong there, as the beginning of the message.
        remedy: Its end.

    Raises:
        InputError: The block raised an exception; the message gives its reason.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # datasets and pyarrow raise almost anything on damaged files
        reason = str(error) or type(error).__name__
        raise InputError(f"{place} ({reason}): {remedy}") from error
