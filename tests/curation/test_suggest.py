"""`sct-hf suggest` on tiny images: what it writes, and what it refuses."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sct_hf import build_model, encode_labels, image_processor
from sct_hf.curation.suggest import Suggestion, Suggestions, suggest
from sct_hf.curation.suggest_files import write_suggestions
from sct_hf.curation.unlabelled import Unlabelled, read_unlabelled, without_labelled
from sct_hf.curation.vocabulary import word_classes
from sct_hf.data import load_data
from sct_hf.errors import InputError
from sct_hf.inference.files import find_images
from sct_hf.inference.tagger import Tagger
from sct_hf_cli import run
from tests.hostile import HOSTILE_NAMES
from tests.page_checks import harmless_page

LABELS = ["red", "green", "blue", "white"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights, with a threshold that only some images reach."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    fields = {"hidden_size": 16, "encoder_ffn_dim": 16, "encoder_attention_heads": 2}
    model = build_model(
        "test_resnet", LABELS, image_size=32, label_vectors=encode_labels(LABELS, "random:8"), **fields
    )
    model.config.thresholds = [0.5, 1.0, 1.0, 1.0]
    model.save_pretrained(folder)
    image_processor(model.config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tagger(checkpoint: Path) -> Tagger:
    return Tagger.from_pretrained(checkpoint, "cpu")


@pytest.fixture
def photos(table: Path, tmp_path: Path) -> Path:
    """A folder with the images of `table`, a copy of one, and a broken file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for file in table.glob("train-*.png"):
        shutil.copy(file, folder)
    shutil.copy(folder / "train-0.png", folder / "again.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def test_scores_and_embeddings_are_those_of_the_model(tagger: Tagger, photos: Path) -> None:
    found = read_unlabelled(tagger, find_images([photos]), batch_size=4)
    assert len(found.paths) == 31
    assert [line.startswith(str(photos / "broken.jpg")) for line in found.unread] == [True]
    for row in (0, 13, 30):  # one by one, without the pipeline
        pixels = tagger.processor(images=Image.open(found.paths[row]).convert("RGB"), return_tensors="pt")
        with torch.no_grad():
            features = tagger.model.backbone(pixels["pixel_values"])  # (1, D₀, H, W)
            logits = tagger.model(**pixels).logits
        assert found.embeddings[row] == pytest.approx(features.mean((0, 2, 3)).numpy(), abs=2e-3)
        assert found.scores[row] == pytest.approx(logits.sigmoid()[0].numpy(), abs=1e-5)


def test_the_command_writes_a_table_tasks_and_a_page(
    checkpoint: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    words = [str(checkpoint), str(photos), "--count", "10", "--output", str(output), "--seed", "3"]
    assert run("suggest", *words) == 1  # a broken file
    said = capsys.readouterr()
    assert "broken.jpg" in said.err
    assert "31 images" in said.out
    rows = list(csv.DictReader((output / "suggestions.csv").open(encoding="utf-8")))
    assert len(rows) == 10 == len({row["image"] for row in rows})
    assert all((photos / row["image"]).is_file() and row["labels"] == "" for row in rows)
    assert {row["reason"] for row in rows} == {"drawn at random"}
    tasks = json.loads((output / "tasks.json").read_text(encoding="utf-8"))
    assert [task["data"]["image"].rpartition("=")[2] for task in tasks] == [row["image"] for row in rows]
    tagged = list(csv.DictReader((output / "tags.csv").open(encoding="utf-8")))
    assert {row["path"] for row in tagged} == {str(path) for path in photos.glob("*.png")}
    page = harmless_page(output / "suggestions.html")
    assert sum(src.startswith("data:") for src in page.attributes("src")) >= 10
    before = (output / "suggestions.csv").read_bytes()
    run("suggest", *words)
    assert (output / "suggestions.csv").read_bytes() == before


def test_the_filled_table_is_a_table_for_training(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").unlink()
    output = tmp_path / "out"
    assert run("suggest", str(checkpoint), str(photos), "--count", "4", "--output", str(output)) == 0
    rows = list(csv.DictReader((output / "suggestions.csv").open(encoding="utf-8")))
    with (output / "suggestions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"labels": "red, blue"} for row in rows)
    images = load_data("csv", "train", files=output / "suggestions.csv", data_dir=photos)
    assert images.label_names == ["blue", "red"]
    assert images.targets().tolist() == [[1, 1]] * 4


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_filled_in_labels_are_not_overwritten(
    checkpoint: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], separator: str
) -> None:
    table = tmp_path / "out" / "suggestions.csv"
    table.parent.mkdir()
    lines = [["image", "labels", "suggested", "reason"], ["a.png", "", "", ""], ["b.png", "red", "", "drawn"]]
    table.write_text("".join(separator.join(line) + "\n" for line in lines), encoding="utf-8")
    before = table.read_bytes()
    assert run("suggest", str(checkpoint), str(photos), "--output", str(table.parent)) == 2
    assert f"{table}, which holds labels of images (1): move the file, or give another" in capsys.readouterr().err
    assert [path.name for path in table.parent.iterdir()] == ["suggestions.csv"]
    assert table.read_bytes() == before


def test_uncertain_images_come_first_with_their_reason(tagger: Tagger, photos: Path) -> None:
    paths = [path for path in find_images([photos]) if path.suffix == ".png"]
    found = suggest(tagger, paths, count=31, by="uncertain")
    scores = found.images.scores.astype(float)
    bits = -(scores * np.log2(scores) + (1 - scores) * np.log2(1 - scores)).sum(1)
    first = found.chosen[0]
    assert bits[first.row] == pytest.approx(bits.max())
    assert first.reason.startswith("unsure of ")
    assert len({one.row for one in found.chosen}) == 31


def test_labelled_images_are_left_out_by_content(photos: Path, tmp_path: Path) -> None:
    table, every = tmp_path / "done.csv", find_images([photos])
    table.write_text("image,labels\ntrain-0.png,red\ntrain-1.png,blue\n", encoding="utf-8")
    left, line = without_labelled(every, table)
    assert {path.name for path in every} - {path.name for path in left} == {"train-0.png", "again.png", "train-1.png"}
    assert f"3 of 32 images are among the 2 of {table}, found in {photos}" in line
    beside = tmp_path / "train-0.png"  # the same name beside the table comes first
    shutil.copy(photos / "train-5.png", beside)
    assert {path.name for path in every} - {path.name for path in without_labelled(every, table)[0]} == {"train-5.png"}
    (tmp_path / "folder").mkdir()
    shutil.copy(photos / "train-7.png", tmp_path / "folder" / "other.png")
    by_folder = without_labelled(every, tmp_path / "folder")[0]
    assert {path.name for path in every} - {path.name for path in by_folder} == {"train-7.png"}
    with pytest.raises(InputError, match=r"labelled: 32 of 32 images .* give images without labels"):
        without_labelled(every, photos)
    table.write_text("image,labels\nelsewhere.png,red\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"labelled is .*done.csv.*no image is there"):
        without_labelled(every, table)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--count", "0"], "count is 0: give a number of images from 1"),
        (["--profile", "strict"], "profile"),
        (["--vocabulary", "nowhere.txt"], "vocabulary is 'nowhere.txt', which cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused(
    checkpoint: Path, photos: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("suggest", str(checkpoint), str(photos), "--output", str(tmp_path / "out"), *words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_backbone_without_known_classes_gives_groups_without_words(tagger: Tagger) -> None:
    with pytest.raises(InputError, match="test_resnet"):
        word_classes(tagger.model)


def test_hostile_names_are_harmless(tmp_path: Path) -> None:
    names = ["=1+1.png", "-a.png", "<b>.png", "'q'.png", 'two "words".png', "new\nline.png", "‮gnp.png"]
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in names:
        Image.new("RGB", (8, 8), "red").save(folder / name)
    count = len(names)
    labels = HOSTILE_NAMES
    images = Unlabelled(
        [folder / name for name in names],
        np.full((count, len(labels)), 0.5, dtype=np.float32),
        np.eye(count, 4, dtype=np.float16),
        [],
    )
    tags = [[(label, 0.5) for label in labels]] * count
    chosen = [Suggestion(row, tags[row], f"unsure of {labels[row]}") for row in range(count)]
    found = Suggestions(images, labels, tags, chosen, [])
    write_suggestions(found, tmp_path / "out", source="<i>model</i>")
    harmless_page(tmp_path / "out" / "suggestions.html")
    with (tmp_path / "out" / "suggestions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(cell[:1] not in "=+-@\t\r＝＋－＠" for row in rows for cell in row.values() if cell)
    assert not [row for row in rows if {*"\x1b\u202e"} & {*row["suggested"], *row["reason"]}]
    assert all((folder / row["image"]).is_file() for row in rows)
    json.loads((tmp_path / "out" / "tasks.json").read_text(encoding="utf-8"))
