"""Hugging Face Inference Endpoints: the `handler.py` of a published checkpoint.

It needs its repository and the packages in `requirements.txt`, but not the package sct_hf. A request is

    {"inputs": IMAGE, "parameters": {"threshold": 0.3, "top_k": 5, "heatmaps": true, "labels": ["dog", "cat"]}}

with an image or a list of images, or the image itself with a content type such as image/jpeg and the parameters in the
query. The answer is the result of the pipeline "multi-label-image-classification"; heatmaps are PNG files in base64. A
request that cannot be answered raises an error, which the runtime returns as {"error": MESSAGE}. Environment variables
set the limits of the pipeline: SCT_ENDPOINT_MAX_PIXELS, SCT_ENDPOINT_MAX_IMAGES, SCT_ENDPOINT_MAX_LABELS.
"""

import base64
import binascii
import io
import ipaddress
import json
import os
import reprlib
import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from PIL import Image
from transformers import pipeline

URLS = "SCT_ENDPOINT_URLS"
"""Environment variable: `1` lets a request give an image by URL, which the endpoint then fetches."""

_WEB = ("http://", "https://")
_UNREADABLE = "inputs: the image cannot be read; send a whole PNG, JPEG or WebP file."
_RUN_LENGTHS = 3  # zlib's Z_RLE: three to five times as fast as its default, and no larger
_LIMIT = "SCT_ENDPOINT_MAX_"
_BATCH = 8
_MAX_BYTES = 20_000_000
_SECONDS = 10
_REDIRECTS = 3


class EndpointHandler:
    """The handler. The runtime makes it once and calls it for every request, from several threads.

    Args:
        path: The repository's folder.

    Raises:
        ValueError: A limit in the environment is not a whole number from 1.
    """

    def __init__(self, path: str = ".") -> None:
        make: Any = pipeline  # whose types know the tasks of transformers only
        set_here = [name for name in os.environ if name.startswith(_LIMIT)]
        limits = {f"max_{name.removeprefix(_LIMIT).lower()}": _count(name, os.environ[name]) for name in set_here}
        self.pipeline = make("multi-label-image-classification", model=path, trust_remote_code=True, **limits)

    def __call__(self, data: dict[str, Any]) -> list[Any]:
        """Answer a request.

        Args:
            data: `"inputs"`: an image or a list of images. An image is base64, with or without the prefix
                `data:image/…;base64,`; bytes; a `PIL.Image`, which the runtime makes from image content types; or a
                URL if the variable `SCT_ENDPOINT_URLS` is 1. `"parameters"`, optional: threshold, profile, abstain,
                top_k, heatmaps, known_labels, labels and label_templates of the pipeline. In a query they are text: a
                number, true or false, labels separated by commas, one template, an object as JSON.

        Returns:
            The tags of the image, `{"label", "score"}`, with `"seen"` for given labels, and `"heatmap"` and `"box"`
            for heatmaps; or a list of such results.

        Raises:
            ValueError: An image or a parameter cannot be used.
        """
        if not isinstance(data, dict) or data.get("inputs") is None:
            raise ValueError('inputs is missing: send {"inputs": an image in base64}.')
        parameters = _parameters(data.get("parameters") or {})
        inputs, limits = data["inputs"], self.pipeline.limits
        if not isinstance(inputs, list):
            return _as_json(self.pipeline(read_image(inputs, limits.check_image), **parameters))
        limits.check_list((_told_size(item) for item in inputs), len(inputs))
        batch_size = 1 if parameters.get("heatmaps") else _BATCH  # heatmaps hold their images until they are drawn
        images = (read_image(item, limits.check_image) for item in inputs)
        found: Any = self.pipeline(images, batch_size=batch_size, list_length=len(inputs), **parameters)
        return [_as_json(tags) for tags in found]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} is {reprlib.repr(text)}: give a number from 0 to 1.") from None


def _count(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} is {reprlib.repr(text)}: give a whole number from 1.") from None


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"heatmaps is {reprlib.repr(text)}: give true or false.")
    return text.lower() == "true"


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f'known_labels is {reprlib.repr(text)}: give an object, such as {{"dog": true}}.') from None


# What a request may ask for, and what text of a query stands for.
_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "heatmaps": _flag,
    "known_labels": _object,
    "label_templates": lambda text: [text],
    "labels": lambda text: [name.strip() for name in text.split(",")],
    "abstain": lambda text: _number("abstain", text),
    "profile": str,
    "threshold": lambda text: _number("threshold", text),
    "top_k": lambda text: _count("top_k", text),
}


def _parameters(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"parameters is {reprlib.repr(given)}: give an object, such as {{'threshold': 0.5}}.")
    unknown = sorted(map(str, set(given) - set(_PARAMETERS)))
    if unknown:
        raise ValueError(f"parameters: there is no {reprlib.repr(unknown[0])}, only {', '.join(_PARAMETERS)}.")
    return {name: _PARAMETERS[name](value) if isinstance(value, str) else value for name, value in given.items()}


def _as_json(tags: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for tag in tags:
        if "heatmap" in tag:
            tag["heatmap"] = _png(tag["heatmap"])
    return tags


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG", compress_type=_RUN_LENGTHS)
    return base64.b64encode(file.getvalue()).decode("ascii")


def read_image(source: Any, check: Callable[[tuple[int, int]], object] = bool) -> Image.Image:
    """Read the image of a request, see `EndpointHandler.__call__`; it never reads a file of this machine.

    Args:
        source: The image.
        check: Called with (width, height) before decoding; raises ValueError if they are too large.

    Raises:
        ValueError: The image cannot be read or is too large.
    """
    image = _open(source)
    check(image.size)
    try:
        image.load()
    except Exception as error:  # broken files make Pillow's decoders raise almost anything
        raise ValueError(_UNREADABLE) from error
    return image


def _told_size(source: Any) -> tuple[int, int]:
    """The (width, height) of an image, without decoding it; (0, 0) for a URL, which is read later."""
    return (0, 0) if isinstance(source, str) and source.startswith(_WEB) else _open(source).size


def _open(source: Any) -> Image.Image:
    if isinstance(source, str):
        source = _fetch(source) if source.startswith(_WEB) else _decode(source)
    if not isinstance(source, bytes | Image.Image):
        raise ValueError(f"inputs holds a {type(source).__name__}: send an image in base64.")
    try:
        return Image.open(io.BytesIO(source)) if isinstance(source, bytes) else source
    except Image.DecompressionBombError as error:  # Pillow's own limit
        raise ValueError(f"inputs: {error} Send a smaller image.") from error
    except Exception as error:
        raise ValueError(_UNREADABLE) from error


def _decode(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("inputs: the text is not base64; send an image in base64, no path of a file.") from error


def _fetch(url: str) -> bytes:
    """Fetch the file of an http or https URL on the public internet."""
    if os.environ.get(URLS) != "1":
        raise ValueError(f"inputs: this endpoint fetches no URL; send an image in base64, or set {URLS}=1 here.")
    deadline = time.monotonic() + _SECONDS
    try:
        for _ in range(_REDIRECTS + 1):
            parts = urlsplit(url)
            connection = _connect(parts)
            try:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("GET", path, headers={"User-Agent": "sct_hf", "Accept": "image/*"})
                answer = connection.getresponse()
                if answer.status == 200:
                    return _body(answer, deadline)
                target = answer.getheader("Location")
                if not 300 <= answer.status < 400 or not target:
                    raise ValueError(f"it answers {answer.status} {answer.reason}")
                url = urljoin(url, target)
            finally:
                connection.close()
        raise ValueError(f"it redirects more than {_REDIRECTS} times")
    except (OSError, HTTPException, ValueError) as error:
        raise ValueError(f"inputs: the URL cannot be fetched ({error}); send an image in base64.") from error


def _connect(parts: SplitResult) -> HTTPConnection:
    """Connect to the host of a URL; refuse hosts in private networks."""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it is no http or https URL")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_SECONDS)
    found = socket.getaddrinfo(parts.hostname, connection.port, type=socket.SOCK_STREAM)
    _check_public(*(str(entry[4][0]) for entry in found))
    connection.connect()
    try:
        _check_public(connection.sock.getpeername()[0])  # the name may lead elsewhere by now
    except ValueError:
        connection.close()
        raise
    return connection


def _check_public(*addresses: str) -> None:
    for address in addresses:
        number = ipaddress.ip_address(address)
        if not (getattr(number, "ipv4_mapped", None) or number).is_global:
            raise ValueError("its host is not on the public internet")


def _body(answer: Any, deadline: float) -> bytes:
    content = bytearray()
    while part := answer.read1(1 << 16):
        content += part
        if len(content) > _MAX_BYTES:
            raise ValueError(f"its file has more than {_MAX_BYTES:,} bytes")
        if time.monotonic() > deadline:
            raise ValueError(f"it takes more than {_SECONDS} seconds")
    return bytes(content)
