"""The extra of the package that installs a missing module."""

import re
from importlib.metadata import PackageNotFoundError, requires

# Modules whose package has another name.
_PACKAGES = {"PIL": "pillow", "iterstrat": "iterative-stratification", "ot": "pot", "sklearn": "scikit-learn"}
_PACKAGES["yaml"] = "pyyaml"


def install_line(module: str | None) -> str | None:
    """Find the command that installs a module.

    Args:
        module: Import name of the module; only the part before the first dot counts.

    Returns:
        A command such as `pip install "sct_hf[train]"`, or None if no extra of this package has the module.
    """
    name = (module or "").partition(".")[0]
    package = _PACKAGES.get(name, name).replace("_", "-").lower()
    try:
        lines = requires("sct_hf") or []
    except PackageNotFoundError:  # run from a folder without being installed
        return None
    extras: dict[str, list[str]] = {}
    for line in lines:
        if found := re.match(r"""([\w.-]+).*;.*extra == ["']([\w-]+)["']""", line):
            extras.setdefault(found[2], []).append(found[1].replace("_", "-").lower())
    holders = [extra for extra, packages in extras.items() if package in packages]
    if not holders:
        return None
    return f'pip install "sct_hf[{min(holders, key=lambda extra: len(extras[extra]))}]"'
