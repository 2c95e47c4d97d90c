"""`sct-hf evaluate --localisation`: a tiny VOC folder through the command, measured again by hand."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sct_hf import encode_labels
from sct_hf.cli import evaluate
from sct_hf.data.scenes import SCENE_LABELS, SCENE_SIZES, boxed_scene
from sct_hf.data.voc import VOC_LABELS
from sct_hf.errors import InputError
from sct_hf.factory import build_model, image_processor
from tests.model.tagging import heatmaps_by_hand

SIZE = (60, 48)  # of the annotated images; the files have half of it
OBJECTS: dict[str, list[tuple[str, int, tuple[int, int, int, int]]]] = {
    "a": [("cat", 0, (1, 1, 20, 20)), ("dog", 1, (5, 5, 9, 9))],
    "b": [("car", 1, (40, 30, 60, 48)), ("car", 0, (1, 30, 12, 48)), ("person", 0, (20, 1, 60, 48))],
    "c": [("person", 0, (1, 1, 60, 48))],
    "d": [],
}
PAIRS = {("a", "cat"), ("b", "car"), ("b", "person"), ("c", "person")}


def write_voc(root: Path, objects: dict[str, Any], size: tuple[int, int] = SIZE) -> Path:
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (root / "VOC2012" / folder).mkdir(parents=True, exist_ok=True)
    for number, (name, found) in enumerate(objects.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (SIZE[1] // 2, SIZE[0] // 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(SIZE).reduce(2).save(root / "VOC2012" / "JPEGImages" / f"{name}.jpg")
        text = "".join(
            f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox>"
            + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
            + "</bndbox></object>"
            for label, difficult, box in found
        )
        head = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
        (root / "VOC2012" / "Annotations" / f"{name}.xml").write_text(f"<annotation>{head}{text}</annotation>")
    (root / "VOC2012" / "ImageSets" / "Main" / "mine.txt").write_text("".join(f"{name}\n" for name in objects))
    return root


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Untrained checkpoints of VOC's labels, by head."""
    made: dict[Any, Path] = {}

    def make(head: str, labels: Sequence[str] = tuple(VOC_LABELS), **fields: Any) -> Path:
        key = (head, tuple(labels))
        if key not in made:
            torch.manual_seed(len(made))
            text = {"label_vectors": encode_labels(labels, "random:8")} if head == "sct" else {}
            model = build_model("test_resnet", list(labels), image_size=64, head=head, **text, **fields)
            made[key] = tmp_path_factory.mktemp(head)
            model.save_pretrained(made[key])
            image_processor(model.config).save_pretrained(made[key])
        return made[key]

    return make


@pytest.fixture
def sct(checkpoints: Callable[..., Path]) -> Path:
    return checkpoints("sct", hidden_size=16, encoder_attention_heads=2, encoder_ffn_dim=16)


def run(out: Path, model: Path, data: Path | None, **options: Any) -> dict[str, Any]:
    words: dict[str, Any] = {"model": model, "data_dir": data, "output_dir": out, "dataset": "voc2012"}
    words |= {"eval_split": "mine", "num_workers": 0, "cpu_threads": 1, "batch_size": 2, "localisation": True}
    assert evaluate.main([f"--{name}={value}" for name, value in (words | options).items() if value is not None]) == 0
    return json.loads((out / "metrics.json").read_text())


def test_figures_of_a_tiny_voc_folder(
    tmp_path: Path, sct: Path, checkpoints: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, linear = write_voc(tmp_path / "data", OBJECTS), checkpoints("linear")
    metrics = run(tmp_path / "out", sct, data, cam_checkpoint=linear)
    assert metrics["weights_sha256"] == hashlib.sha256((sct / "model.safetensors").read_bytes()).hexdigest()
    found = metrics["localisation"]
    assert (found["images"], found["pairs"], found["without_box"], found["other_shape"]) == (3, 4, 0, [])
    assert list(found["methods"]) == ["model", "cam", "centre", "whole_image"]
    for folder, name in ((sct, "model"), (linear, "cam")):
        pointing, energy = [], []
        for image_id, label in sorted(PAIRS):
            boxes = [box for other, _, box in OBJECTS[image_id] if other == label]
            here = by_hand(folder, data / "VOC2012" / "JPEGImages" / f"{image_id}.jpg", label, boxes)
            pointing.append(here[0])
            energy.append(here[1])
        overall = found["methods"][name]["overall"]
        assert overall["pointing"] == pytest.approx(np.mean(pointing)), name
        assert overall["energy"] == pytest.approx(np.mean(energy), abs=1e-4), name
        assert overall["pairs"] == 4
    person = found["methods"]["whole_image"]["by_label"]["person"]
    assert person["pairs"] == 2
    assert person["energy"] == pytest.approx((41 * 48 / (60 * 48) + 1) / 2)
    assert person["CorLoc"] == 1  # 41/60 and 1
    assert found["methods"]["whole_image"]["by_label"]["car"]["CorLoc"] == 0
    assert found["methods"]["centre"]["by_label"]["cat"]["pointing"] == 1  # 10 to the right and 4 below
    assert [found["methods"]["model"]["by_size"][size]["pairs"] for size in ("small", "medium", "large")] == [2, 2, 0]
    printed = capsys.readouterr().out
    assert "where the maps point (4 labels in 3 images; a peak may be 15 pixels off)" in printed
    for words in ("the model", "CAM of a linear head", "centre of the image", "whole image"):
        assert f"\n{words} " in printed


def by_hand(folder: Path, file: Path, label: str, boxes: list[tuple[int, int, int, int]]) -> tuple[float, float]:
    """Pointing and energy of a map that torch enlarges."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    with Image.open(file) as image, torch.inference_mode():
        pixels = AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")["pixel_values"]
        out = model(pixels, output_maps=True)
    of_label = [each[0] for each in (out.semantic_map, out.region_scores) if each is not None]
    weights = torch.tensor(heatmaps_by_hand(*of_label))[None, [VOC_LABELS.index(label)]].float()
    fine = torch.nn.functional.interpolate(weights, (SIZE[1], SIZE[0]), mode="bilinear")[0, 0].double().numpy()
    mask = np.zeros(fine.shape, dtype=bool)
    for left, top, right, bottom in boxes:
        mask[top - 1 : bottom, left - 1 : right] = True
    ys, xs = np.nonzero(mask)
    peaks = np.argwhere(fine >= fine.max() - 1e-6)
    hits = [np.hypot(ys - y, xs - x).min() <= 15 for y, x in peaks]
    return float(np.mean(hits)), fine[mask].sum() / fine.sum()


def test_a_linear_head_may_be_the_model(tmp_path: Path, checkpoints: Callable[..., Path]) -> None:
    data, linear = write_voc(tmp_path / "data", OBJECTS), checkpoints("linear")
    found = run(tmp_path / "out", linear, data, cam_checkpoint=linear, batch_size=1)["localisation"]["methods"]
    assert found["model"] == found["cam"]
    assert list(run(tmp_path / "without", linear, data)["localisation"]["methods"]) == [
        "model",
        "centre",
        "whole_image",
    ]


def test_an_image_of_another_shape_is_left_out_and_named(
    tmp_path: Path, sct: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_voc(tmp_path / "data", OBJECTS)
    write_voc(data, {"c": OBJECTS["c"]}, size=(48, 60))
    (data / "VOC2012" / "ImageSets" / "Main" / "mine.txt").write_text("a\nb\nc\n")
    found = run(tmp_path / "out", sct, data)["localisation"]
    assert (found["other_shape"], found["pairs"]) == (["c"], 3)
    assert "left out: images whose file has another shape than the annotation says: c\n" in capsys.readouterr().out
    path = data / "VOC2012" / "JPEGImages" / "c.jpg"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # shown upright it is 24 × 30
        image.save(path, exif=exif)
    assert run(tmp_path / "turned", sct, data)["localisation"]["other_shape"] == []


def test_masks_of_scenes_are_measured_too(
    tmp_path: Path,
    checkpoints: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SCENE_SIZES, "test", 4)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    linear = checkpoints("linear", SCENE_LABELS)
    found = run(tmp_path / "out", linear, None, dataset="scenes", eval_split="test")["localisation"]["methods"]
    true, guessed, hit = dict.fromkeys(SCENE_LABELS, 0), dict.fromkeys(SCENE_LABELS, 0), dict.fromkeys(SCENE_LABELS, 0)
    ground = 0
    for index in range(4):
        masks = boxed_scene(0, "test", index).masks
        first = min(masks, key=SCENE_LABELS.index)  # of constant maps, all 1, the first has all pixels
        guessed[first] += masks[first].size
        hit[first] += masks[first].sum()
        ground += (~np.any(list(masks.values()), axis=0)).sum()
        for label, mask in masks.items():
            true[label] += mask.sum()
    either = {label: true[label] + guessed[label] - hit[label] for label in SCENE_LABELS}
    shares = {label: hit[label] / either[label] if either[label] else None for label in SCENE_LABELS}
    assert found["whole_image"]["segmentation"]["IoU"] == pytest.approx(shares | {"background": 0})
    assert ground
    counted = [value for value in shares.values() if value is not None]
    assert found["whole_image"]["segmentation"]["mIoU"] == pytest.approx(sum(counted) / (len(counted) + 1))
    assert found["model"]["segmentation"]["mIoU"] > 0
    assert "CorLoc  mIoU\n" in capsys.readouterr().out


def test_what_cannot_be_measured(tmp_path: Path, sct: Path, checkpoints: Callable[..., Path], table: Path) -> None:
    data = write_voc(tmp_path / "data", OBJECTS)

    def refused(model: Path = sct, **options: Any) -> str:
        with pytest.raises(InputError) as caught:
            run(tmp_path / "out", model, data, **options)
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    csra = checkpoints("csra")
    assert "whose head 'csra' has no map of a label: give a checkpoint of SCT or of a linear head" in refused(csra)
    assert f"cam_checkpoint is {str(csra)!r}, whose head 'csra'" in refused(cam_checkpoint=csra)
    assert "there is no such folder" in refused(cam_checkpoint="/none/such/folder")
    fewer = checkpoints("linear", VOC_LABELS[1:])
    assert "lacks labels of the model (aeroplane): give one" in refused(cam_checkpoint=fewer)
    assert "give --localisation true with it" in refused(cam_checkpoint=fewer, localisation=False)
    text = refused(dataset="jsonl", data_dir=table, eval_split="test")
    assert text.startswith("dataset is 'jsonl', which has no boxes: give one of ")
    assert {"coco", "voc", "voc2007", "voc2012"} <= {*text.partition("one of ")[2].split(", ")}
    only_hard = {"a": [("cat", 1, (1, 1, 9, 9))], "b": [("dog", 1, (1, 1, 9, 9))]}
    data = write_voc(tmp_path / "hard", only_hard)
    assert "no image of split 'mine' shows a label of the model with a box" in refused()
