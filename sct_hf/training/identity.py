"""Whether a run goes on with another: the arguments that decide what is learnt."""

import json
import os
from typing import Any

from sct_hf.files import sha256_of_file
from sct_hf.training.arguments import Arguments, option_defaults

# What may differ between a run and its continuation: none of it decides what is learnt.
_NOT_IDENTITY = {
    *("output_dir", "overwrite_output_dir", "resume", "report_to", "log_every", "checkpoint_every"),
    *("figures", "frequency_groups"),
    *("keep_checkpoints", "cache_dir", "num_workers", "cpu_threads", "compare_head", "check_data", "allow_unlabelled"),
}
# What may be the path of a small file, whose content decides what is learnt.
_READ_FROM_FILES = ("hierarchy", "label_gammas", "labels_file", "positive_weights", "unseen_labels")


def run_identity(arguments: Arguments) -> dict[str, Any]:
    """The fields that decide what is learnt, by name, with digests of the files that they name; JSON values.

    Args:
        arguments: Of a run.
    """
    values = {name: value for name, value in sorted(arguments.to_dict().items()) if name not in _NOT_IDENTITY}
    for name in _READ_FROM_FILES:
        if values[name] is not None and os.path.isfile(values[name]):  # labels in a row may be no path at all
            values[name] = f"{values[name]}, SHA-256 {sha256_of_file(values[name])}"
    return json.loads(json.dumps(values))


def difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """Say in which fields the `run_identity` of two runs differ; nothing if one goes on with the other.

    An option that one of them does not know is newer than it, and counts as left at its default there; one without a
    default, which this version does not know, always differs.

    Args:
        theirs: Of the run that was found.
        ours: Of the run that is asked for.
    """
    defaults = option_defaults()

    def differs(name: str) -> bool:
        if name not in defaults:
            return True
        return theirs.get(name, defaults[name]) != ours.get(name, defaults[name])

    def told(values: dict[str, Any], name: str) -> str:
        return repr(values[name]) if name in values else "unknown"

    names = [name for name in sorted({*theirs, *ours}) if differs(name)]
    texts = [f"{name} ({told(theirs, name)} there, {told(ours, name)} here)" for name in names[:5]]
    return ", ".join(texts) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
