"""Exported graphs in the user's cache, so that the next start of an engine need not export."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sct_hf.errors import InputError
from sct_hf.export.optional import version_of
from sct_hf.files import atomic_write, cache_folder, sha256_of_file
from sct_hf.inference.settings import model_digest
from sct_hf.model.backbone_sct import BackbonePreTrainedModel

_FOLDER = "engines"
_MOST = 5  # graphs in it
_PACKAGES = ("sct_hf", "torch", "onnx", "onnxscript")
_LETTERS = 32  # of a digest in a name


def graph_key(model: BackbonePreTrainedModel) -> str:
    """What decides the exported graph of a model, as a digest: weights, configuration and versions of packages.

    Thresholds do not count. Names of labels only count in a hierarchy, where they tell whose parent a label is.
    """
    names = () if model.config.label_parents else ("id2label", "label2id")
    digest = model_digest(model, without=("thresholds", *names))
    facts = [digest, *(version_of(package) for package in _PACKAGES)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:_LETTERS]


def kept_graphs(key: str) -> Iterator[Path]:
    """ONNX files that `keep_graph` wrote for this key, whole ones. Those that are damaged are removed."""
    try:
        found = sorted(cache_folder(_FOLDER).glob(f"{key}-*.onnx"))
    except InputError:
        return
    for path in found:
        with suppress(OSError):
            if path.stem == _stem(key, path):
                yield path
            else:
                path.unlink()


def keep_graph(key: str, file: Path) -> Path | None:
    """Keep an ONNX file in the cache, under its key and its own digest, and remove old files there.

    Args:
        key: Of `graph_key`.
        file: The file, alone in its folder.

    Returns:
        The copy; None if there is no cache or it cannot be written, or the weights are in a second file.
    """
    if len(os.listdir(file.parent)) > 1:
        return None
    try:
        path = cache_folder(_FOLDER) / f"{_stem(key, file)}.onnx"
        with atomic_write(path) as temporary:
            shutil.copyfile(file, temporary)
    except (InputError, OSError):
        return None
    with suppress(OSError):
        _prune(path.parent)
    return path


def _prune(folder: Path) -> None:
    """Leave the newest file of each key, and the newest `_MOST` of these.

    What two processes write at once for one key differs in bytes, and so in name. Both remove the same file.
    """
    keys: set[str] = set()
    for path in sorted(folder.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True):
        key = path.name.rpartition("-")[0]
        if key in keys or len(keys) >= _MOST:
            with suppress(OSError):
                path.unlink()
        keys.add(key)


def _stem(key: str, file: Path) -> str:
    return f"{key}-{sha256_of_file(file)[:_LETTERS]}"
