"""What the figures show, read from the drawn figure."""

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from sct_hf import build_model, encode_labels, image_processor
from sct_hf.inference.scoring import score_images
from sct_hf.model.image_processing_sct import heatmap_overlay
from sct_hf.training.figures import MISSED, OTHER, RIGHT, WRONG, tag_sheet, training_curves

LABELS = ["dog", "cat", "dining table", "boat"]


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that are saved."""
    figures = []
    save = Figure.savefig

    def keep(figure: Figure, *args: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


@pytest.fixture
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in ((48, 80), (90, 60), (64, 64))
    ]


def make_model(head: str):
    torch.manual_seed(0)
    text = encode_labels(LABELS, "random:12")
    fields = {"hidden_size": 32} if head == "sct" else {}
    return build_model("test_resnet", LABELS, image_size=64, head=head, label_vectors=text, **fields).eval()


def assert_is_png(path) -> None:
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_curves_show_the_history(drawn, tmp_path) -> None:
    history = [
        {"epoch": 1, "step": 5, "loss": 2.0, "losses/semantic": 0.5, "lr": 1e-4, "holdout_mAP": 0.25},
        {"epoch": 2, "step": 10, "loss": 1.5, "losses/semantic": math.nan, "lr": 2e-4, "holdout_mAP": 0.75},
        {"epoch": 3, "step": 15, "loss": 1.0, "losses/semantic": 0.25, "lr": 1e-4, "holdout_mAP": None},
    ]
    training_curves(history, tmp_path / "curves.png")
    assert_is_png(tmp_path / "curves.png")
    panels = {axes.get_title("left"): axes for axes in drawn[0].axes}
    lines = {
        title: {line.get_label(): line.get_xydata().tolist() for line in axes.lines} for title, axes in panels.items()
    }
    assert lines == {
        "loss": {"loss": [[1, 2.0], [2, 1.5], [3, 1.0]], "semantic": [[1, 0.5], [3, 0.25]]},
        "learning rate": {"lr": [[1, 1e-4], [2, 2e-4], [3, 1e-4]]},
        "held-out mAP (%)": {"holdout": [[1, 25], [2, 75]]},
    }
    assert {axes.get_xlabel() for axes in drawn[0].axes} == {"epoch"}
    assert [text.get_text() for text in panels["held-out mAP (%)"].texts] == ["best 75.0 at epoch 2"]


def test_curves_of_rows_within_epochs_go_by_step_and_leave_out_empty_panels(drawn, tmp_path) -> None:
    history = [{"epoch": 1, "step": 5, "loss": 200.0}, {"epoch": 1, "step": 10, "loss": 1.0}]
    training_curves(history, tmp_path / "curves.png")
    (axes,) = drawn[0].axes
    assert axes.get_xlabel() == "step"
    assert axes.lines[0].get_xydata().tolist() == [[5, 200], [10, 1]]
    assert axes.get_yscale() == "log"


def test_no_history_still_gives_a_image(tmp_path) -> None:
    training_curves([], tmp_path / "curves.png")
    assert_is_png(tmp_path / "curves.png")


def test_sheet_judges_tags_and_draws_the_plans(drawn, images, tmp_path) -> None:
    model = make_model("sct").train()
    processor = image_processor(model.config)
    scores, plans = score_images(model, processor, images, maps=True)
    threshold = float(np.sort(scores[0])[1:3].mean())  # two labels of the first image above, two below
    best, second, third, last = np.argsort(-scores[0])
    targets = np.full((3, 4), -1.0)
    targets[0, [best, second, third, last]] = [1, 0, 1, 0]

    tag_sheet(
        model,
        processor,
        images,
        tmp_path / "tags.png",
        targets=targets,
        threshold=threshold,
        tags_shown=4,
        maps_shown=2,
    )

    assert_is_png(tmp_path / "tags.png")
    assert model.training
    original, bars, *maps = drawn[0].axes[:4]
    np.testing.assert_array_equal(original.images[0].get_array(), np.asarray(images[0]))
    widths = {to_hex(bar.get_facecolor()): bar.get_width() for bar in bars.patches[4:]}
    expected = {RIGHT: scores[0, best], WRONG: scores[0, second], MISSED: scores[0, third], OTHER: scores[0, last]}
    assert widths == pytest.approx(expected)
    texts = {text.get_text(): to_hex(text.get_color()) for text in bars.texts}
    assert {LABELS[best]: RIGHT, LABELS[second]: WRONG, LABELS[third]: MISSED}.items() <= texts.items()
    assert f"missed: {LABELS[third]}" in texts
    for axes, label in zip(maps, (best, second), strict=True):
        overlay = heatmap_overlay(images[0], plans[0, label])
        np.testing.assert_array_equal(axes.images[0].get_array(), np.asarray(overlay))
        assert axes.get_title().startswith(LABELS[label])
    for axes in drawn[0].axes[5::4]:  # without a known target there is no verdict
        assert {to_hex(bar.get_facecolor()) for bar in axes.patches[4:]} == {OTHER}


def test_sheet_of_a_model_without_maps_has_no_heatmaps(drawn, images, tmp_path) -> None:
    model = make_model("csra")
    tag_sheet(model, image_processor(model.config), images, tmp_path / "tags.png")
    assert_is_png(tmp_path / "tags.png")
    assert sum(len(axes.images) for axes in drawn[0].axes) == len(images)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_sheet_has_no_empty_cells(drawn, images, tmp_path, count: int) -> None:
    model = make_model("sct")
    options = {"threshold": 1.0, "maps_shown": 6}  # no label reaches it; more maps than labels
    tag_sheet(model, image_processor(model.config), images[:count], tmp_path / "tags.png", **options)
    (figure,) = drawn
    assert all(axes.images or axes.patches for axes in figure.axes)
    assert [len(cell.axes) for cell in figure.subfigs] == [2 + len(LABELS)] * count


def test_the_curve_of_training_images_says_so(drawn, tmp_path) -> None:
    history = [{"epoch": 1, "step": 5, "loss": 2.0, "training_mAP": 0.5}]
    training_curves(history, tmp_path / "curves.png")
    axes = {axes.get_title("left"): axes for axes in drawn[0].axes}["mAP (%)"]
    assert axes.lines[0].get_ydata().tolist() == [50]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "training images, up to 256, seen in training"
    ]
