"""Tags of image files, against a model fed by hand."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from sct_hf import InputError, Tagger, build_model, encode_labels, image_processor
from sct_hf.inference.items import Item
from sct_hf.model.image_processing_sct import heatmap_box
from tests.model.tagging import heatmaps_by_hand

LABELS = ["dog", "cat", "dining table", "boat", "sheep"]
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    torch.manual_seed(0)
    fields = {"hidden_size": 32, "encoder_ffn_dim": 48, "encoder_attention_heads": 4}
    text = encode_labels(LABELS, "random:12")
    model = build_model("test_resnet", LABELS, image_size=64, label_vectors=text, **fields)
    model(torch.randn(8, 3, 64, 64))  # moves the running statistics off 0 and 1
    return Tagger(model, image_processor(model.config))


def by_hand(tagger: Tagger, pixels: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Scores and maps (C, H', W') of RGB pixels (64, 64, 3)."""
    config = tagger.model.config
    values = (pixels / 255 - np.array(config.image_mean)) / np.array(config.image_std)
    with torch.no_grad():
        out = tagger.model(torch.tensor(values, dtype=torch.float32).permute(2, 0, 1)[None], output_maps=True)
    scores = 1 / (1 + np.exp(-out.logits[0].double().numpy()))
    return dict(zip(LABELS, scores.tolist(), strict=True)), heatmaps_by_hand(out.semantic_map[0], out.region_scores[0])


def all_scores(tagger: Tagger, *paths: Path) -> list[dict[str, float]]:
    return [dict(found.tags) for found in tagger.tag(paths, threshold=0)]


def save(folder: Path, name: str, image: Image.Image, **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


def test_tags_are_the_sigmoid_of_the_logits_by_falling_score(tagger, tmp_path) -> None:
    path = save(tmp_path, "a.png", Image.fromarray(PIXELS))
    (found,) = tagger.tag([str(path)], threshold=0)
    expected, _ = by_hand(tagger, PIXELS)
    assert found.path == path
    assert found.error is None
    assert dict(found.tags) == pytest.approx(expected, abs=1e-5)
    assert [label for label, _ in found.tags] == sorted(expected, key=lambda label: -expected[label])


GREY = PIXELS[..., 0]
MODES = {
    "L": (Image.fromarray(GREY), np.stack([GREY] * 3, -1), ".png"),
    "LA": (Image.fromarray(np.stack([GREY, PIXELS[..., 1]], -1), "LA"), np.stack([GREY] * 3, -1), ".png"),
    "RGBA": (Image.fromarray(np.concatenate([PIXELS, GREY[..., None]], -1)), PIXELS, ".png"),
    "16-bit": (Image.fromarray(GREY.astype(np.uint16) * 257), np.stack([GREY] * 3, -1), ".png"),
    "1": (Image.fromarray(GREY > 99), np.stack([255 * (GREY > 99)] * 3, -1), ".png"),
    "CMYK": (
        Image.fromarray(np.concatenate([255 - PIXELS, 0 * GREY[..., None]], -1), "CMYK"),
        PIXELS,
        ".tiff",
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_any_mode_is_read_as_rgb(tagger, tmp_path, mode) -> None:
    image, rgb, suffix = MODES[mode]
    (found,) = all_scores(tagger, save(tmp_path, f"a{suffix}", image))
    assert found == pytest.approx(by_hand(tagger, rgb)[0], abs=1e-5)


def test_palette_images_are_looked_up(tagger, tmp_path) -> None:
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(GREY, "L")
    image.putpalette(palette.tobytes())
    (found,) = all_scores(tagger, save(tmp_path, "a.gif", image))
    assert found == pytest.approx(by_hand(tagger, palette[GREY])[0], abs=1e-5)


def test_exif_orientation_is_respected(tagger, tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    (found,) = all_scores(tagger, save(tmp_path, "a.png", Image.fromarray(PIXELS), exif=exif))
    upright = by_hand(tagger, np.rot90(PIXELS, k=-1))[0]
    assert found == pytest.approx(upright, abs=1e-5)
    assert found != pytest.approx(by_hand(tagger, PIXELS)[0], abs=1e-5)


def test_broken_files_are_reported_and_the_rest_goes_on(tagger, tmp_path) -> None:
    good = save(tmp_path, "good.png", Image.fromarray(PIXELS))
    whole = io.BytesIO()
    Image.fromarray(PIXELS).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[:900])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    cut_png = good.read_bytes()
    (tmp_path / "cut.png").write_bytes(cut_png[: len(cut_png) // 2])
    (tmp_path / "folder").mkdir()
    broken = [tmp_path / name for name in ("cut.jpg", "text.png", "empty.jpg", "cut.png", "missing.png", "folder")]
    paths = [good, *broken, good]

    results = list(tagger.tag(paths, threshold=0, batch_size=3))

    assert [found.path for found in results] == paths
    assert [bool(found.error) for found in results] == [False, *[True] * 6, False]
    assert results[5].error == "no such file"
    assert not any(found.tags for found in results[1:-1])
    assert dict(results[0].tags) == pytest.approx(by_hand(tagger, PIXELS)[0], abs=1e-5)
    assert dict(results[-1].tags) == pytest.approx(dict(results[0].tags), abs=1e-6)


def test_metadata_that_cannot_be_read_stops_nobody(tagger, tmp_path) -> None:
    exif = b"Exif\x00\x00\x00M\x00\xff\x00\x00\x00\x08\x00\x01\x01\xff\x00\x00\x00\x00\xff\x01\x00\x06\x00\x00"
    paths = [
        save(tmp_path, "a.png", Image.fromarray(PIXELS)),
        save(tmp_path, "b.png", Image.fromarray(PIXELS), exif=exif),
        save(tmp_path, "c.png", Image.fromarray(PIXELS)),
    ]
    expected = by_hand(tagger, PIXELS)[0]
    assert all_scores(tagger, *paths) == [pytest.approx(expected, abs=1e-5)] * 3


def test_a_name_that_no_file_can_have_is_reported(tagger) -> None:
    (found,) = tagger.tag([Path("a" * 300 + ".png")])
    assert "too long" in found.error


@pytest.mark.parametrize("settings", [{"do_normalize": [True]}, {"image_mean": [0.5, 0.5]}, {"size": {"height": -1}}])
def test_an_image_processor_that_prepares_nothing_is_refused_when_loaded(tagger, tmp_path, settings) -> None:
    tagger.model.save_pretrained(tmp_path)
    tagger.processor.save_pretrained(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    with pytest.raises(InputError, match=r"^model: .*preprocessor_config\.json"):
        Tagger.from_pretrained(tmp_path, "cpu")


def test_threshold_and_top_k(tagger, tmp_path) -> None:
    path = save(tmp_path, "a.png", Image.fromarray(PIXELS))
    (ranked,) = ([*found.tags] for found in tagger.tag([path], threshold=0))
    third = ranked[2][1]
    cases = {(third, None): 3, (third, 2): 2, (0, 4): 4, (0, 99): 5, (1, None): 0}
    for (threshold, top_k), count in cases.items():
        (found,) = tagger.tag([path], threshold=threshold, top_k=top_k)
        assert found.tags == ranked[:count], (threshold, top_k)


def test_maps_are_those_of_the_tags(tagger, tmp_path) -> None:
    path = save(tmp_path, "a.png", Image.fromarray(PIXELS))
    (found,) = tagger.tag([path], threshold=0, top_k=2, maps=True)
    _, maps = by_hand(tagger, PIXELS)
    assert list(found.maps) == [label for label, _ in found.tags]
    assert len(found.maps) == 2
    for label, weights in found.maps.items():
        np.testing.assert_allclose(weights, maps[LABELS.index(label)], atol=1e-5)


def test_boxes_come_with_maps_in_pixels_of_the_image(tagger, tmp_path) -> None:
    path = save(tmp_path, "a.png", Image.fromarray(PIXELS).resize((150, 70)))
    (plain,) = tagger.tag([path], threshold=0)
    assert (plain.boxes, plain.seen) == (None, None)
    found, broken = tagger.tag([path, tmp_path / "absent.png"], threshold=0, top_k=2, maps=True)
    assert broken.boxes == {}
    assert list(found.boxes) == list(found.maps)
    for label, box in found.boxes.items():
        assert box == heatmap_box(found.maps[label], (150, 70))


def test_a_checkpoint_folder_loads(tagger, tmp_path) -> None:
    tagger.model.save_pretrained(tmp_path / "model")
    tagger.processor.save_pretrained(tmp_path / "model")
    loaded = Tagger.from_pretrained(tmp_path / "model", "cpu")
    path = save(tmp_path, "wide.png", Image.fromarray(PIXELS).resize((150, 70)))
    assert all_scores(loaded, path) == [pytest.approx(scores, abs=1e-6) for scores in all_scores(tagger, path)]
    assert loaded.label_names == LABELS
    (tmp_path / "model" / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"model: .*preprocessor_config\.json"):
        Tagger.from_pretrained(tmp_path / "model", "cpu")


def test_any_multi_label_classifier_of_transformers_works(tmp_path) -> None:
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    names = dict(enumerate(LABELS))
    config = ViTConfig(image_size=64, patch_size=16, id2label=names, problem_type="multi_label_classification", **size)
    tagger = Tagger(ViTForImageClassification(config), ViTImageProcessor(size={"height": 64, "width": 64}))
    path = save(tmp_path, "a.png", Image.fromarray(PIXELS))
    pixels = torch.tensor(PIXELS / 127.5 - 1, dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = tagger.model(pixels).logits.sigmoid()[0].tolist()
    assert all_scores(tagger, path) == [pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-5)]
    with pytest.raises(InputError, match=r"^maps: .*'vit'.*SCT"):
        tagger.tag([path], maps=True)


def test_wrong_input_is_named(tagger, tmp_path) -> None:
    config = ViTConfig(image_size=16, patch_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    with pytest.raises(InputError, match="problem_type is None"):
        Tagger(ViTForImageClassification(config), None)
    with pytest.raises(InputError, match=r"model: .*absent"):
        Tagger.from_pretrained(tmp_path / "absent", "cpu")
    with pytest.raises(InputError, match="device: 'toaster'"):
        Tagger.from_pretrained(tmp_path, "toaster")
    for name, value in {"threshold": 1.5, "top_k": 0, "batch_size": 0}.items():
        with pytest.raises(InputError, match=f"{name} is {value}"):
            tagger.tag([], **{name: value})


def test_a_model_with_broken_weights_is_refused(tmp_path) -> None:
    model = build_model("test_resnet", LABELS, image_size=64, head="linear")
    torch.nn.init.constant_(model.head.classifier.bias, torch.nan)
    path = save(tmp_path, "a.png", Image.fromarray(PIXELS))
    with pytest.raises(InputError, match="scores are NaN"):
        list(Tagger(model, image_processor(model.config)).tag([path]))


def test_thresholds_of_the_checkpoint_are_the_default(tagger, tmp_path) -> None:
    path = save(tmp_path, "a.png", Image.fromarray(PIXELS))
    (ranked,) = ([*found.tags] for found in tagger.tag([path], threshold=0))
    (plain,) = tagger.tag([path])
    assert plain.tags == [(label, score) for label, score in ranked if score >= 0.5]
    chosen = {ranked[0][0], ranked[3][0]}
    tagger.model.config.thresholds = [float(name not in chosen) for name in LABELS]
    try:
        (own,) = tagger.tag([path])
        assert own.tags == [ranked[0], ranked[3]]
        (mixed,) = tagger.tag([path], threshold={ranked[0][0]: 1, ranked[1][0]: 0})
        assert mixed.tags == [ranked[1], ranked[3]]
        with pytest.raises(InputError, match="no label is called 'horse'"):
            tagger.tag([path], threshold={"horse": 0})
    finally:
        tagger.model.config.thresholds = None


def test_items_are_tagged_as_the_files_whose_bytes_they_hold(tagger, tmp_path) -> None:
    path = save(tmp_path, "a.png", Image.fromarray(PIXELS))
    items = [
        path,
        Item("shard.parquet#0", path.read_bytes()),
        Item("a name", path),
        Item("shard.parquet#1", None),
        Item("shard.parquet#2", b""),
        Item("shard.parquet#3", b"no image"),
        Item("shard.tar", None, "is cut off"),
    ]
    found = list(tagger.tag((item for item in items), threshold=0, batch_size=2))
    assert [result.name for result in found] == [str(path), *(item.name for item in items[1:])]
    assert [result.path for result in found[:3]] == [path, Path("shard.parquet#0"), path]
    expected = by_hand(tagger, PIXELS)[0]
    assert all(dict(result.tags) == pytest.approx(expected, abs=1e-5) for result in found[:3])
    reason = "cannot identify image file 'shard.parquet#3'"
    assert [result.error for result in found[3:]] == ["no image", "an image of 0 bytes", reason, "is cut off"]


def test_images_are_taken_as_they_are_needed(tagger, tmp_path) -> None:
    path = save(tmp_path, "a.png", Image.fromarray(PIXELS))
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield path

    found = tagger.tag(endless(), batch_size=4)
    for number in range(1, 30):
        next(found)
        assert taken <= number + 3 * 4


def test_a_link_to_no_file_is_an_error_with_its_reason(tagger, tmp_path) -> None:
    save(tmp_path, "a.png", Image.fromarray(PIXELS))
    for name, target in {"0.png": "gone.png", "1.png": "1.png", "2.png": "a.png"}.items():
        (tmp_path / name).symlink_to(target)
    results = list(tagger.tag([tmp_path / f"{number}.png" for number in range(3)], threshold=0))
    assert [found.error for found in results] == [
        "a link to 'gone.png', where no file is",
        "a link to '1.png', where no file is",
        None,
    ]


def test_words_of_labels_are_those_of_the_checkpoints_text(tagger) -> None:
    assert tagger.label_words == {label: label for label in LABELS}
    text = encode_labels(["diningtable", "TVMonitor"], "random:12")
    model = build_model("test_resnet", text.names, image_size=64, label_vectors=text, hidden_size=32)
    words = Tagger(model, image_processor(model.config)).label_words
    assert words == dict(zip(text.names, text.recipe["words"], strict=True))
    assert words["diningtable"] == "dining table"
    model.config.text_recipe = None
    assert Tagger(model, image_processor(model.config)).label_words == {}
