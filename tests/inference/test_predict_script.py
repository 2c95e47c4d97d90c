"""scripts/predict.py: what it prints, what it writes, and its exit code."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from sct_hf import build_model, encode_labels, image_processor
from sct_hf.cli import _tagging
from sct_hf_cli import run
from tests.terminal import Terminal

LABELS = ["dog", "cat", "traffic/light"]
KINDS = {
    "sct": {"hidden_size": 32},
    "label": {"hidden_size": 32, "scorer": "label"},
    "csra": {"head": "csra"},
    "states": {"head": "sct_known_labels", "hidden_size": 32},
}
SCRIPT = Path(__file__).parents[2] / "scripts" / "predict.py"


@pytest.fixture(scope="module")
def predict():
    return lambda words: run("predict", *words)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """Checkpoint folders: of each head, and one of SCT with label states."""
    torch.manual_seed(0)
    folders = {}
    text = encode_labels(LABELS, "random:12")
    for name, fields in KINDS.items():
        folder = tmp_path_factory.mktemp(name)
        model = build_model("test_resnet", LABELS, image_size=64, label_vectors=text, **fields)
        model.save_pretrained(folder)
        image_processor(model.config).save_pretrained(folder)
        folders[name] = str(folder)
    return folders


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder with two good images of one name and a broken one."""
    rng = np.random.default_rng(0)
    for name in ("one/a.png", "two/a.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (50, 80, 3), dtype=np.uint8)).save(path)
    (tmp_path / "images" / "two" / "broken.jpg").write_bytes(b"\xff\xd8 and nothing more")
    return tmp_path / "images"


def test_good_images_into_a_file(predict, models, images, tmp_path, capsys) -> None:
    output = tmp_path / "out" / "tags.json"
    words = [f"--model={models['sct']}", "--threshold=0", "--format=json", f"--output={output}"]
    assert predict([*words, f"{images}/*/a.png"]) == 0
    assert capsys.readouterr() == ("", "")
    rows = json.loads(output.read_text())
    assert [row["path"] for row in rows] == [str(images / "one" / "a.png"), str(images / "two" / "a.png")]
    assert all({tag["label"] for tag in row["tags"]} == set(LABELS) and "error" not in row for row in rows)
    assert [path.name for path in output.parent.iterdir()] == ["tags.json"]


def lines_of_package(errors: str, images: Path) -> list[str]:
    """What this package wrote of a process's errors: libraries that it imports may warn there, as torchao does."""
    assert "Traceback" not in errors
    return [line for line in errors.splitlines() if line.startswith(("error:", str(images)))]


def test_exit_code_and_streams_of_the_process(models, images, tmp_path) -> None:
    words = [sys.executable, str(SCRIPT), f"--model={models['sct']}", "--threshold=0", "--format=csv", str(images)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [Path(row["path"]).name for row in table] == ["a.png"] * 6 + ["broken.jpg"]
    assert table[-1]["error"]
    assert lines_of_package(done.stderr, images) == [f"{images}/two/broken.jpg: {table[-1]['error']}"]


def test_a_terminal_shows_each_error_once(predict, models, images, monkeypatch, capsys) -> None:
    words = [f"--model={models['sct']}", str(images / "two")]
    assert predict(words) == 1
    text, errors = capsys.readouterr()
    assert [len([line for line in part.splitlines() if "broken.jpg" in line]) for part in (text, errors)] == [1, 1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert predict(words) == 1
    assert capsys.readouterr() == (text, "")


@pytest.mark.parametrize("delay", [0, 1000])
def test_a_terminal_shows_lines_and_bars_apart(predict, models, images, monkeypatch, delay: float) -> None:
    monkeypatch.setattr(_tagging, "_SILENT", delay)
    words = [f"--model={models['sct']}", "--threshold=0", str(images)]
    log, screen = io.StringIO(), Terminal()
    for stream in (log, screen):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream if stream is screen else io.StringIO())
        assert predict(words) == 1
    said = screen.getvalue()
    assert said.index("loading the model …") < said.index("tagging the first images …") < said.index("broken.jpg")
    assert screen.lines == [line.rstrip() for line in log.getvalue().splitlines()]


def test_nothing_found(predict, models, tmp_path, capsys) -> None:
    words = [f"--model={models['sct']}", "--threshold=0", "--format=csv", str(tmp_path / "no*.png")]
    assert predict(words) == 2
    text, errors = capsys.readouterr()
    assert text == ""
    assert errors == f"error: images: '{tmp_path}/no*.png' matches no file; give files, folders or globs of images\n"
    assert len(errors.splitlines()) == 1


def test_known_labels(predict, models, images, capsys) -> None:
    words = [f"--model={models['states']}", "--threshold=0", "--format=json", str(images / "one")]
    assert predict([*words, "--known=cat", "--known_absent", "dog", "--known_absent=traffic/light"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    scores = {tag["label"]: tag["score"] for tag in row["tags"]}
    assert scores["cat"] == 1
    assert max(scores["dog"], scores["traffic/light"]) < 1e-6
    assert predict([*words, "--known=dog"]) == 0
    told = json.loads(capsys.readouterr().out)[0]["tags"]
    model = AutoModelForImageClassification.from_pretrained(models["states"])
    pixels = AutoImageProcessor.from_pretrained(models["states"])(row["path"], return_tensors="pt")["pixel_values"]
    expected = model(pixels, known=torch.tensor([[1, -1, -1]])).logits.sigmoid()[0].tolist()
    assert {tag["label"]: tag["score"] for tag in told} == pytest.approx(dict(zip(LABELS, expected, strict=True)))


def test_other_labels_with_boxes(predict, models, images, tmp_path, capsys) -> None:
    (tmp_path / "labels.txt").write_text("fire engine\nhorse\n")
    words = [f"--model={models['label']}", "--threshold=0", "--boxes", str(images / "one")]
    names = ["--labels=wild boar, dog", f"--labels_file={tmp_path / 'labels.txt'}", "--labels", "cow"]
    assert predict([*words, *names, "--format=json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert {tag["label"]: tag["seen"] for tag in row["tags"]} == {
        **dict.fromkeys(["wild boar", "cow", "fire engine", "horse"], False),
        "dog": True,
    }
    assert all(set(tag["box"]) == {"xmin", "ymin", "xmax", "ymax"} for tag in row["tags"])
    assert predict([*words, *names, "--format=csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in table] == [tag["label"] for tag in row["tags"]]
    assert [int(row["xmax"]) for row in table] == [tag["box"]["xmax"] for tag in row["tags"]]


def test_heatmaps_of_every_tag(predict, models, images, tmp_path, capsys) -> None:
    folder = tmp_path / "maps"
    code = predict([f"--model={models['sct']}", "--threshold=0", "--top_k=3", f"--heatmaps={folder}", str(images)])
    assert code == 1
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = ("cat", "dog", "traffic%2Flight")
    assert written == [f"{part}/a.png-{name}.png" for part in ("one", "two") for name in names]
    with Image.open(folder / "one" / "a.png-dog.png") as image:
        assert (image.size, image.mode) == ((80, 50 + 24), "RGB")  # with the caption
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_an_image_over_the_limit_is_passed_over(predict, models, images, capsys) -> None:
    Image.new("RGB", (81, 50)).save(images / "one" / "large.png")
    words = [f"--model={models['sct']}", "--threshold=0", "--format=json", "--max_pixels=4000"]
    assert predict([*words, str(images / "one")]) == 1
    out, errors = capsys.readouterr()
    good, large = json.loads(out)
    assert len(good["tags"]) == 3
    reason = "the image has 4,050 pixels, more than max_pixels, 4,000: give a smaller one, or raise max_pixels"
    assert (large["error"], large["tags"]) == (reason, [])
    assert errors == f"{images}/one/large.png: {reason}\n"
    assert predict([*words[:-1], "--max_pixels=4050", str(images / "one")]) == 0


def test_heatmaps_that_cannot_be_written_lose_no_tags(predict, models, images, tmp_path, capsys) -> None:
    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "one").write_text("where a folder is to be")
    words = [f"--model={models['sct']}", "--threshold=0", "--format=json", f"--heatmaps={folder}", f"{images}/*/a.png"]
    assert predict(words) == 1
    out, errors = capsys.readouterr()
    assert [len(row["tags"]) for row in json.loads(out)] == [3, 3]
    assert errors.startswith(f"{images}/one/a.png: no heatmap: [Errno")
    assert len(errors.splitlines()) == 1
    assert len(list((folder / "two").iterdir())) == 3
    assert predict([*words, "--max_images=2"]) == 1
    out, errors = capsys.readouterr()
    assert [len(row["tags"]) for row in json.loads(out)] == [3, 3]
    assert errors.count("no heatmap: heatmaps of 3 tags are more than max_images allows, 2: set top_k") == 2


def test_a_mask_of_every_image(predict, models, images, tmp_path, capsys) -> None:
    """Each pixel has the tag whose map, enlarged by torch, is the highest there."""
    folder = tmp_path / "masks"
    words = [f"--model={models['sct']}", "--threshold=0", "--format=json", f"--masks={folder}", "--mask_level=0.7"]
    assert predict([*words, str(images)]) == 1  # for the broken image
    rows = json.loads(capsys.readouterr().out)
    assert ["box" in tag for tag in rows[0]["tags"]] == [True] * 3
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert written == ["labels.json", "one/a.png", "two/a.png"]
    names = json.loads((folder / "labels.json").read_text())
    assert names == {"0": "background", "1": "dog", "2": "cat", "3": "traffic/light"}
    model = AutoModelForImageClassification.from_pretrained(models["sct"])
    pixels = AutoImageProcessor.from_pretrained(models["sct"])(rows[0]["path"], return_tensors="pt")["pixel_values"]
    maps = model(pixels, output_maps=True).heatmap
    height, label = torch.nn.functional.interpolate(maps, (50, 80), mode="bilinear")[0].max(0)
    with Image.open(folder / "one" / "a.png") as mask:
        assert (mask.size, mask.mode) == ((80, 50), "P")
        found = np.asarray(mask)
    expected = torch.where(height >= 0.7, label + 1, 0).numpy()
    assert len(np.unique(expected)) > 1
    assert (found != expected).mean() < 0.01  # where two numbers are equal but for rounding


def test_masks_replace_those_of_an_earlier_run(predict, models, images, tmp_path, capsys) -> None:
    folder = tmp_path / "masks"
    words = [f"--masks={folder}", str(images / "one")]
    assert predict([f"--model={models['sct']}", "--threshold=1", *words]) == 0
    with Image.open(folder / "a.png") as mask:
        assert not np.asarray(mask).any()  # no tags, all background
    assert predict([f"--model={models['sct']}", "--threshold=0", *words]) == 0
    with Image.open(folder / "a.png") as mask:
        assert np.asarray(mask).any()
    before = (folder / "a.png").read_bytes()
    assert predict([f"--model={models['label']}", "--labels=horse,cow", *words]) == 2
    assert "whose labels.json has other labels: give another folder" in capsys.readouterr().err
    assert (folder / "a.png").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "labels.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model={label}", "--labels=horse,cow", "--max_labels=1"], "come to 2 texts of up to 64 characters, more"),
        (["--model={sct}", "--max_pixels=0"], "max_pixels is 0: give a whole number from 1"),
        (["--model={csra}", "--heatmaps=maps"], "no map of its labels"),
        (["--model={csra}", "--masks=maps"], "no map of its labels, for heatmaps, boxes or masks"),
        (
            ["--model={sct}", "--masks=maps", "--mask_level=2"],
            "--mask_level is 2.0: give a number from",
        ),
        (["--model={sct}", "--masks=one"], "--masks is 'one', which holds the image 'one/a.png': give another folder"),
        (["--model={sct}", "--boxes"], "boxes: a table cannot show them"),
        (["--model={csra}", "--boxes", "--format=csv"], "no map of its labels"),
        (["--model={sct}", "--labels=horse"], "scores only the labels it was trained on"),
        (["--model={label}", "--labels=horse,horse"], "give a list of names, each once"),
        (["--model={label}", "--labels_file=absent.txt"], "labels_file is 'absent.txt'"),
        (["--model=./absent"], "'./absent' cannot be loaded"),
        (["--model=one"], "'one' cannot be loaded (the folder has no config.json.); give a folder with config.json"),
        (["--model={label}", "--labels=two.csv"], "--labels is 'two.csv', a file, but here it takes names of labels"),
        (["--model={sct}", "--threshold=2"], "threshold is 2.0"),
        (["--model={sct}", "--top_k=0"], "top_k is 0"),
        (["--model={sct}", "--known=dog"], "whose labels have no states"),
        (["--model={states}", "--known=cat", "--known_absent=cat"], "--known and --known_absent both have 'cat'"),
        (["--model={states}", "--known=cow"], "known_labels: no label is called 'cow'"),
        (["--model={sct}", "--output={sct}/config.json/tags.csv"], "config.json"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(predict, models, images, monkeypatch, capsys, words, message) -> None:
    monkeypatch.chdir(images)
    (images / "two.csv").write_text("image,labels\n")
    assert predict([word.format_map(models) for word in words] + ["one"]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.startswith("error: ")
    assert message in errors
    assert not (images / "maps").exists()


@pytest.mark.parametrize("option", ["heatmaps", "masks"])
def test_a_file_is_no_folder_for_pictures(predict, models, images, tmp_path, capsys, option: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("image,labels")
    assert predict([f"--model={models['sct']}", f"--{option}={file}", str(images)]) == 2
    assert f"{option} is '{file}', a file: give a folder" in capsys.readouterr().err
    assert file.read_text() == "image,labels"


def test_a_level_without_masks_is_refused(predict, models, images, capsys) -> None:
    assert predict([f"--model={models['sct']}", "--mask_level=0.4", str(images)]) == 2
    assert "mask_level is 0.4, but no masks are written: give a folder by --masks" in capsys.readouterr().err


def test_a_folder_of_results_is_gone_on_with(predict, models, images, tmp_path, capsys) -> None:
    """The second run tags what is new and what failed; a shard within the folder of images is no source."""
    output = images / "results"
    words = [f"--model={models['sct']}", "--threshold=0", f"--output={output}/", str(images), f"{images}/one/*.png"]
    assert predict(words) == 1
    broken = images / "two" / "broken.jpg"
    errors = capsys.readouterr().err
    assert errors.startswith(f"{broken}: ")
    assert errors.endswith("images: 2 tagged now, 1 named twice, 1 failed (the same command tries them again)\n")
    Image.new("RGB", (9, 9)).save(broken)
    assert predict(words) == 0
    assert capsys.readouterr() == ("", "images: 1 tagged now, 2 done before, 1 named twice\n")
    table = pq.read_table(output)
    assert sorted(table["path"].to_pylist()) == sorted(map(str, [*images.glob("*/a.png"), broken]))
    assert table["error"].to_pylist() == [None] * 3
    written = sorted(path.name for path in output.iterdir())
    assert written == ["_run.json", "part-000000.parquet", "part-000001.parquet"]
    assert predict([*words, "--top_k=1"]) == 2
    assert "results of other settings: --top_k (null there, 1 here)" in capsys.readouterr().err
    assert predict([*words, "--format=table"]) == 2
    assert "a folder takes no table; give parquet, csv or jsonl" in capsys.readouterr().err


def test_pictures_belong_to_the_results_of_a_folder(predict, models, images, tmp_path, capsys) -> None:
    """Results without pictures are not gone on with; an image whose picture failed is tried again."""
    (images / "two" / "broken.jpg").unlink()
    maps = tmp_path / "maps"
    words = [f"--model={models['sct']}", "--threshold=0", f"--output={tmp_path}/results/", str(images)]
    assert predict([*words, "--boxes"]) == 0
    for option in ("heatmaps", "masks"):
        assert predict([*words, f"--{option}={maps}"]) == 2
        assert f"results of other settings: {option}" in capsys.readouterr().err
    words[2] = f"--output={tmp_path}/drawn/"
    maps.mkdir(exist_ok=True)
    (maps / "one").write_text("where a folder is to be")
    assert predict([*words, f"--heatmaps={maps}"]) == 1
    rows = pq.read_table(tmp_path / "drawn").to_pylist()
    assert [len(row["labels"]) for row in rows] == [3, 3]
    assert [bool(row["error"]) for row in rows] == [True, False]
    assert rows[0]["error"].startswith("no heatmap: [Errno")
    (maps / "one").unlink()
    capsys.readouterr()
    assert predict([*words, f"--heatmaps={maps}"]) == 0
    assert capsys.readouterr() == ("", "images: 1 tagged now, 1 done before\n")
    assert len(list(maps.glob("*/*.png"))) == 6


def test_a_sidecar_waits_for_the_pictures(predict, models, images, tmp_path, capsys) -> None:
    (images / "two" / "broken.jpg").unlink()
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "one").write_text("where a folder is to be")
    words = [f"--model={models['sct']}", "--threshold=0", "--sidecars=json", f"--heatmaps={maps}", str(images)]
    assert predict(words) == 1
    assert [path.parent.name for path in images.rglob("*.json")] == ["two"]
    (maps / "one").unlink()
    capsys.readouterr()
    assert predict(words) == 0
    assert capsys.readouterr() == ("", "images: 1 tagged now, 1 done before\n")
    assert len(list(maps.glob("*/*.png"))) == 6


def test_files_that_are_passed_over_are_said_in_a_line(predict, models, images, capsys) -> None:
    (images / "one" / "s.parquet").write_bytes(b"x")
    assert predict([f"--model={models['sct']}", "--threshold=0", "--format=csv", str(images / "one")]) == 0
    told = (
        f"{images}/one: it has images, so 's.parquet' and other files of many images were passed over; name them too"
    )
    assert capsys.readouterr().err == f"{told}\n"


def test_sidecars_are_no_images_of_a_pattern(predict, models, images, capsys) -> None:
    (images / "two" / "broken.jpg").unlink()
    (images / "one" / "a.png.xmp").write_bytes(b"\n")
    words = [f"--model={models['sct']}", "--threshold=0", "--sidecars=xmp", f"{images}/*/*"]
    assert predict(words) == 0
    told = f"{images}/*/*: passed over {{}} files that do not end like images\n"
    first = told.format(1) + "sidecars that were empty, and are written anew: 1\n"
    assert capsys.readouterr() == ("", first + "images: 2 tagged now\n")
    assert predict(words) == 0
    assert capsys.readouterr() == ("", told.format(2) + "images: 0 tagged now, 2 done before\n")


def test_a_link_to_no_file_in_a_folder_is_said(predict, models, images, capsys) -> None:
    (images / "one" / "b.png").symlink_to("gone.png")
    assert predict([f"--model={models['sct']}", "--threshold=0", "--format=csv", str(images / "one")]) == 1
    out, errors = capsys.readouterr()
    assert errors == f"{images}/one/b.png: a link to 'gone.png', where no file is\n"
    assert [Path(row["path"]).name for row in csv.DictReader(io.StringIO(out))] == ["a.png"] * 3 + ["b.png"]


def test_the_ending_of_a_file_chooses_its_format(predict, models, images, tmp_path, capsys) -> None:
    words = [f"--model={models['sct']}", "--threshold=0", str(images / "one")]
    found = {}
    for name in ("a.csv", "a.json", "a.jsonl", "a.PARQUET", "a.txt"):
        assert predict([*words, f"--output={tmp_path / name}"]) == 0
        found[name] = (tmp_path / name).read_bytes()
    (entry,) = json.loads(found["a.json"])
    assert [json.loads(line) for line in found["a.jsonl"].splitlines()] == [entry]
    assert [row["label"] for row in csv.DictReader(io.StringIO(found["a.csv"].decode()))] == [
        tag["label"] for tag in entry["tags"]
    ]
    (row,) = pq.read_table(tmp_path / "a.PARQUET").to_pylist()
    assert row["scores"] == [tag["score"] for tag in entry["tags"]]
    assert found["a.txt"].decode().startswith(str(images / "one" / "a.png"))
    assert predict([*words, "--format=csv", f"--output={tmp_path / 'b.json'}"]) == 0
    assert (tmp_path / "b.json").read_bytes() == found["a.csv"]
    assert predict([*words, "--format=parquet"]) == 2
    assert "parquet cannot be printed; give a file or a folder by --output" in capsys.readouterr().err


def test_images_in_a_table_are_tagged_as_their_files(predict, models, images, tmp_path, capsys) -> None:
    files = sorted(images.rglob("*.png"))
    columns = {"key": ["x", "y"], "image": [file.read_bytes() for file in files]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    words = [f"--model={models['sct']}", "--threshold=0", "--format=json"]
    assert predict([*words, *map(str, files)]) == 0
    expected = [entry["tags"] for entry in json.loads(capsys.readouterr().out)]
    for more, names in (
        ([], [f"{tmp_path}/a.parquet#0", f"{tmp_path}/a.parquet#1"]),
        (["--id_column=key"], ["x", "y"]),
    ):
        assert predict([*words, *more, str(tmp_path / "a.parquet")]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [(entry["path"], entry["tags"]) for entry in found] == list(zip(names, expected, strict=True))
    assert predict([*words, f"--masks={tmp_path / 'masks'}", str(tmp_path / "a.parquet")]) == 2
    assert "a.parquet#0' is no image file, but heatmaps and masks are drawn of files alone" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["json", "xmp"])
def test_sidecars_are_written_once_and_what_fails_is_said(predict, models, images, capsys, kind: str) -> None:
    words = [f"--model={models['sct']}", "--threshold=0", f"--sidecars={kind}", str(images)]
    (images / "two" / f"a.png.{kind}").write_text("of another program")
    assert predict(words) == 1
    out, errors = capsys.readouterr()
    assert out == ""
    assert f"two/a.png: no sidecar: 'a.png.{kind}' was left as it is: it is " in errors
    assert (images / "two" / f"a.png.{kind}").read_text() == "of another program"
    (images / "two" / f"a.png.{kind}").unlink()
    (images / "two" / "broken.jpg").unlink()
    assert predict(words) == 0
    assert capsys.readouterr() == ("", "images: 1 tagged now, 1 done before\n")
    assert sorted(path.name for path in images.rglob("*.*")) == ["a.png", "a.png", f"a.png.{kind}", f"a.png.{kind}"]
    assert predict(words) == 0
    assert capsys.readouterr() == ("", "images: 0 tagged now, 2 done before\n")
    assert predict([*words, "--output=tags.csv"]) == 2
    assert "--output is 'tags.csv', but sidecars take the tags" in capsys.readouterr().err
