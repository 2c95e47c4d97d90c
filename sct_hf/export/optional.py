"""Packages that only export needs."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from sct_hf.errors import InputError
from sct_hf.extras import install_line


def require(*packages: str, purpose: str) -> None:
    """Check that packages can be imported.

    Args:
        *packages: Names as in an import.
        purpose: What needs them, for the message.

    Raises:
        InputError: One of them is not installed.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise InputError(f"{purpose} needs {missing[0]}, which is not installed: {install_line(missing[0])}")


def version_of(package: str) -> str | None:
    """The installed version of a package, or None if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
