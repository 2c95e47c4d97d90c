"""A hundred requests that mean harm, and a process that answers them.

`python -m tests.hub.hostile FOLDER KIND` reads requests from standard input, a line each: [name, content] in JSON. It
prints one JSON object: what each was answered with, the seconds of a processor that it took, and the most memory that
the process held.
"""

import base64
import io
import json
import re
import resource
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import sct_hf  # noqa: F401 – it registers the pipeline

Request = dict[str, Any]
_SIDE = 5090  # 25.9 million pixels, just below the limit


def coded(image: Image.Image, kind: str = "PNG", **options: Any) -> str:
    """An image as base64."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()


def _noise(side: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def _header_only(width: int, height: int) -> str:
    """A PNG that tells a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    parts = chunk(b"IHDR", size + bytes([8, 2, 0, 0, 0])) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")).decode()


def _icon(inner: Image.Image) -> str:
    """An icon that tells 32 pixels a side and holds another image."""
    image = base64.b64decode(coded(inner))
    entry = bytes([32, 32, 0, 0, 1, 0, 32, 0]) + len(image).to_bytes(4, "little") + (22).to_bytes(4, "little")
    return base64.b64encode(b"\0\0\1\0\1\0" + entry + image).decode()


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def requests() -> Iterator[tuple[str, Request]]:
    """Name and content of each request."""
    for number, (name, request) in enumerate(_requests()):
        yield f"{number}: {name}", request


def _requests() -> Iterator[tuple[str, Request]]:
    small, noise = coded(Image.new("RGB", (60, 40))), coded(_noise(1024), "JPEG", quality=30)
    large = Image.new("RGB", (_SIDE, _SIDE), (9, 90, 200))
    bomb = coded(Image.new("1", (7000, 7000)))
    for kind, options in {
        **{"PNG": {}, "JPEG": {}, "GIF": {}, "TIFF": {"compression": "tiff_adobe_deflate"}},
        **{"WEBP": {"lossless": True, "quality": 0, "method": 0}},
    }.items():
        yield f"as large as may be, {kind}", {"inputs": coded(large, kind, **options)}
    yield "progressive JPEG", {"inputs": coded(large, "JPEG", progressive=True, subsampling=0)}
    for mode in ("1", "L", "P", "RGBA", "I;16", "CMYK"):
        kind = "JPEG" if mode == "CMYK" else "PNG"
        yield f"as large as may be, {mode}", {"inputs": coded(Image.new(mode, (_SIDE, _SIDE)), kind)}
    yield "heatmaps of a large image", {"inputs": coded(large), "parameters": {"heatmaps": True, "threshold": 0}}
    yield "a line", {"inputs": coded(Image.new("L", (1, 60_000)))}
    yield "a row", {"inputs": coded(Image.new("L", (60_000, 1)))}
    yield "a pixel", {"inputs": coded(Image.new("L", (1, 1)))}
    yield "over the limit", {"inputs": bomb}
    yield "over the limit of Pillow", {"inputs": coded(Image.new("1", (20_000, 20_000)))}
    yield "40 over the limit", {"inputs": [bomb] * 40}
    yield "40 as large as may be", {"inputs": [coded(large)] * 40}
    yield "4 as large as may be", {"inputs": [coded(large)] * 4}
    yield "64 small ones", {"inputs": [small] * 64}
    yield "65 small ones", {"inputs": [small] * 65}
    yield "100,000 small ones", {"inputs": [small] * 100_000}
    yield "64 of noise", {"inputs": [noise] * 64}
    yield "64 of noise with heatmaps", {"inputs": [noise] * 64, "parameters": {"heatmaps": True, "threshold": 0}}
    yield "64 with one heatmap", {"inputs": [noise] * 64, "parameters": {"heatmaps": True, "threshold": 0, "top_k": 1}}
    yield "heatmaps of everything", {"inputs": noise, "parameters": {"heatmaps": True, "threshold": 0}}
    for width, height in ((5000, 5000), (7000, 7000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (0, 5)):
        yield f"a header of {width} x {height}", {"inputs": _header_only(width, height)}
    yield "an icon", {"inputs": _icon(Image.new("1", (7000, 7000)))}
    whole = base64.b64decode(coded(_noise(256)))
    for share in (1, 10, 50, 99):
        yield f"{share} % of an image", {"inputs": base64.b64encode(whole[: len(whole) * share // 100]).decode()}
    for seed in range(12):
        content = bytearray(base64.b64decode(coded(_noise(64), ("PNG", "JPEG", "WEBP", "GIF")[seed % 4])))
        for place in np.random.default_rng(seed).integers(0, len(content), 20):
            content[place] ^= 0xFF
        yield f"damaged, {seed}", {"inputs": base64.b64encode(bytes(content)).decode()}
    for inputs in ("", " ", "AAAA", "=", "data:image/png;base64,", "/etc/passwd", "file:///etc/passwd", 7, 1.5, True):
        yield f"inputs {inputs!r}", {"inputs": inputs}
    for inputs in ({}, {"image": small}, [[small]], [None], [7, small], [small, "AAAA"], _nested(900), "é" * 100_000):
        yield f"inputs {str(inputs)[:30]}", {"inputs": inputs}
    yield "10 million characters", {"inputs": "A" * 10_000_000}
    names = [f"label {number}" for number in range(10_000)]
    several: list[dict[str, Any]] = [
        *({"threshold": value} for value in (float("nan"), float("inf"), -1, 2, "nan", "x" * 10**6, [], {"dog": 2})),
        *({"threshold": value} for value in (_nested(900), dict.fromkeys(names, 0.5), True, {"dog": float("nan")})),
        *({"top_k": value} for value in (0, -1, 1.5, float("nan"), "1e9", 10**30, "9" * 5000, [], True)),
        *({"heatmaps": value} for value in ("yes", 1, float("nan"), _nested(900), {})),
        *({"labels": value} for value in (names, ["x" * 10**6], [], [""], "", 7, {"dog": 1}, [None], _nested(900))),
        {"labels": ["dog", "cat"], "label_templates": ["a {}"] * 10_000},
        {"labels": ["dog", "cat"], "label_templates": _nested(900)},
        {"labels": [f"label {number}" for number in range(1000)], "heatmaps": True, "threshold": 0},
        {"labels": [f"label {number}" for number in range(60)], "heatmaps": True, "threshold": 0},
        {"labels": [f"label {number}" for number in range(1000)], "threshold": 0},
        *({"known_labels": value} for value in (dict.fromkeys(names, True), _nested(900), "[" * 10**5, 7, {"dog": 2})),
        *({name: 1} for name in ("max_pixels", "list_length", "label_encoder", "maps", "x" * 10**6)),
    ]
    for parameters in several:
        yield f"parameters {str(parameters)[:40]}", {"inputs": noise, "parameters": parameters}


def answer_by(folder: str, kind: str) -> Callable[[Request], Any]:
    """What answers a request: the handler, or the pipeline as a server would call it."""
    if kind == "handler":
        from sct_hf.hub.handler import EndpointHandler

        return EndpointHandler(folder)
    from transformers import pipeline

    tagger = pipeline("multi-label-image-classification", model=folder)  # type: ignore[call-overload]
    return lambda request: tagger(request["inputs"], **request.get("parameters", {}))


def _memory() -> int:
    """The most bytes that the process held."""
    status = Path("/proc/self/status")
    if status.is_file():  # the peak of getrusage may be that of the process that started this one
        (peak,) = re.findall(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
        return 1024 * int(peak)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(folder: str, kind: str) -> None:
    """Answer them all."""
    answer = answer_by(folder, kind)
    answered, seconds = {}, {}
    for line in sys.stdin:
        name, request = json.loads(line)
        begun = time.process_time()  # a busy machine makes nothing of it slow
        try:
            found = answer(request)
            answered[name] = f"{len(found)} tags or images"
        except ValueError as error:
            answered[name] = str(error)
        except TypeError as error:
            answered[name] = str(error) if "has no argument" in str(error) else f"no clean answer: {error!r}"
        except Exception as error:
            answered[name] = f"no clean answer: {error!r}"
        seconds[name] = time.process_time() - begun
        print(f"{seconds[name]:.2f} s, {_memory() / 1e6:.0f} MB: {name}: {answered[name][:200]}", file=sys.stderr)
    print(json.dumps({"answered": answered, "seconds": seconds, "memory": _memory()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
