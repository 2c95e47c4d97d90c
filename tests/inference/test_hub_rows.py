"""Images of data sets on the Hub, from a stand-in of it over HTTP, in processes that know no other."""

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sct_hf import InputError
from sct_hf.inference.containers import Columns
from sct_hf.inference.hub_rows import HubRows
from sct_hf.inference.items import Item
from sct_hf.inference.ray_data import _units
from sct_hf.inference.sources import Sources
from tests.hub.stand_in import Hub, environment, running

ROOT = Path(__file__).parents[2]
PHOTOS, FILES = "hf://datasets/me/photos", "hf://datasets/me/files"
LISTING = """
import hashlib, json, sys
from sct_hf.inference.sources import Sources

for given in json.load(sys.stdin):
    found = Sources(given["inputs"], id_column=given.get("id_column")).items(lambda name: name not in given["done"])
    image = lambda item: item.image and hashlib.sha256(item.image).hexdigest()
    print(json.dumps([[item.name, image(item), item.error] for item in found]))
"""
PREDICTING = """
import json, sys
from sct_hf_cli import run

print(json.dumps([run("predict", *words) for words in json.load(sys.stdin)]))
"""


def encoded(number: int) -> bytes:
    """A JPEG, which would change if it were decoded and encoded on its way."""
    pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "JPEG", quality=40)
    return buffer.getvalue()


def parquet(images: list[bytes], paths: list[str | None] | None = None) -> bytes:
    """As `datasets` writes it, with a column of keys."""
    cells = [
        {"bytes": content or None, "path": path}
        for content, path in zip(images, paths or [None] * len(images), strict=True)
    ]
    features = datasets.Features({"key": datasets.Value("string"), "image": datasets.Image()})
    columns = {"key": [f"key {row}" for row in range(len(images))], "image": cells}
    table = pa.table(columns, schema=features.arrow_schema)
    pq.write_table(table, buffer := io.BytesIO(), row_group_size=2)
    return buffer.getvalue()


IMAGES = [encoded(number) for number in range(6)]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """It has a data set of Parquet files in two splits, with an earlier revision, and one of image files."""
    with running() as hub:
        photos = hub.make_repo("datasets/me/photos")
        photos.commit("old", {"train.parquet": parquet(IMAGES[5:])})
        photos.commit("main", {"train.parquet": parquet(IMAGES[:3]), "test.parquet": parquet(IMAGES[3:5])})
        hub.make_repo("datasets/me/files").commit("main", {"0.jpg": IMAGES[0], "1.jpg": IMAGES[1]})
        outside = parquet([b"", IMAGES[0]], [f"{hub.url}/whoami-v2", None])
        hub.make_repo("datasets/me/outside").commit("main", {"train.parquet": outside})
        texts = io.BytesIO()
        pq.write_table(pa.table({"text": ["a"]}), texts)
        hub.make_repo("datasets/me/texts").commit("main", {"train.parquet": texts.getvalue()})
        yield hub


def ask(hub: Hub, folder: Path, program: str, given: object, **variables: str) -> list[object]:
    """What a program prints as JSON, a value a line."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(given),
        cwd=folder,
        env=environment(hub, folder / "home", PYTHONPATH=str(ROOT), **variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_rows_are_called_by_split_and_number(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{PHOTOS}[test]\nhf://datasets/me\n")
    asked = [
        {"inputs": [PHOTOS], "done": []},
        {"inputs": [PHOTOS], "done": [f"{PHOTOS}[train]#0", f"{PHOTOS}[test]#1"]},
        {"inputs": [f"{PHOTOS}@old", f"{PHOTOS}[test]"], "done": []},
        {"inputs": [PHOTOS], "id_column": "key", "done": []},
        {"inputs": [FILES], "done": []},
        {"inputs": ["@list.txt"], "done": []},
    ]
    whole, rest, older, keyed, files, listed = ask(hub, tmp_path, LISTING, asked)
    digests = [hashlib.sha256(content).hexdigest() for content in IMAGES]
    train = [[f"{PHOTOS}[train]#{row}", digests[row], None] for row in range(3)]
    test = [[f"{PHOTOS}[test]#{row}", digests[3 + row], None] for row in range(2)]
    assert sorted(whole) == sorted(train + test)
    assert sorted(rest) == sorted([*train[1:], test[0]])
    assert older == [[f"{PHOTOS}@old[train]#0", digests[5], None], *test]
    names = {name: image for name, image, _ in keyed}  # both splits have key 0 and key 1
    assert names["key 2"] == digests[2]
    repeated = [error for *_, error in keyed if error and "that of another row" in error]
    assert len(repeated) == 2
    assert files == [[f"{FILES}[train]#{row}", digests[row], None] for row in range(2)]
    assert listed[:2] == test
    assert listed[2][:2] == ["hf://datasets/me", None]
    assert "give a data set as hf://datasets/OWNER/NAME" in listed[2][2]


def test_what_cannot_be_read_has_an_error_with_the_remedy(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "me" / "files").mkdir(parents=True)
    inputs = {
        "hf://datasets/me/gone": "doesn't exist",
        f"{PHOTOS}@never": "never",
        f"{PHOTOS}[val]": "val",
        "hf://datasets/me/texts": "it has no column of images or paths, but 'text'",
        FILES: "the folder 'me/files' here would be read instead",
    }
    (found,) = ask(hub, tmp_path, LISTING, [{"inputs": [*inputs, "hf://datasets/me/outside"], "done": []}])
    assert [name for name, *_ in found[:-2]] == list(inputs)
    for (_, image, error), reason in zip(found, inputs.values(), strict=False):
        assert image is None
        assert error.startswith("no images can be loaded (")
        assert reason in error
        assert "check name, revision, split and network, or download it" in error
    assert [name.partition("#")[2] for name, *_ in found[-2:]] == ["0", "1"]
    assert "whoami-v2', which is no file of the data set" in found[-2][2]
    assert found[-1][1] == hashlib.sha256(IMAGES[0]).hexdigest()
    assert not any("whoami" in request for request in hub.requests)
    (offline,) = ask(hub, tmp_path, LISTING, [{"inputs": [f"{PHOTOS}@old"], "done": []}], HF_HUB_OFFLINE="1")
    assert offline[0][:2] == [f"{PHOTOS}@old", None]
    assert "check name, revision, split and network, or download it" in offline[0][2]


def test_a_run_that_was_stopped_goes_on(hub: Hub, tmp_path: Path) -> None:
    words = ["--threshold=0", "--output=results/", f"{PHOTOS}[train]"]
    codes = ask(hub, tmp_path, PREDICTING, [words, [*words, f"{PHOTOS}[test]"]])
    assert codes == [[0, 0]]
    parts = [pq.read_table(part) for part in sorted((tmp_path / "results").glob("part-*"))]
    assert [part["path"].to_pylist() for part in parts] == [
        [f"{PHOTOS}[train]#{row}" for row in range(3)],
        [f"{PHOTOS}[test]#{row}" for row in range(2)],
    ]
    assert all(error is None for part in parts for error in part["error"].to_pylist())


def test_a_stream_that_breaks_off_keeps_what_came() -> None:
    def table() -> Iterator[dict[str, object]]:
        yield {"image": {"bytes": b"one", "path": None}}
        yield {"image": None}
        raise ConnectionError("the network is gone")

    items = list(HubRows.of(PHOTOS)._rows(table(), "image", PHOTOS, Columns(), lambda name: True))
    assert items == [
        Item(f"{PHOTOS}#0", b"one"),
        Item(f"{PHOTOS}#1", None, "the row has no image"),
        Item(f"{PHOTOS}#2", None, "the rows from here on cannot be read: the network is gone"),
    ]


@pytest.mark.parametrize(
    "address", ["hf://me/photos", "hf://datasets/photos", "hf://datasets/me/photos/data", "hf://"]
)
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"images is 'hf://.*give a data set as hf://datasets/OWNER/NAME"):
        Sources(["gone.jpg", address])


def test_ray_says_that_it_reads_none() -> None:
    with pytest.raises(InputError, match=r"engine is 'ray', which reads no data set on the Hub \(hf://datasets/me/p"):
        list(_units(Sources([PHOTOS]), lambda name: True))
