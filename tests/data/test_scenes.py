import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sct_hf.data import load_data
from sct_hf.data import scenes as module
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import list_boxes
from sct_hf.data.scene_objects import DRAWINGS
from sct_hf.data.scene_shapes import Shape, box, ellipse, polygon, shaded, stroke
from sct_hf.data.scenes import SCENE_LABELS, SCENE_SIDE, render_scene
from sct_hf.errors import InputError


def test_sixteen_words() -> None:
    assert len(SCENE_LABELS) == 16
    assert sorted(SCENE_LABELS) == SCENE_LABELS
    assert all(label.isalpha() and label.islower() for label in SCENE_LABELS)


def test_a_image_is_a_function_of_seed_split_and_number() -> None:
    image, labels = render_scene(3, "train", 5)
    again, same = render_scene(3, "train", 5)
    assert (image.mode, image.size) == ("RGB", (SCENE_SIDE, SCENE_SIDE))
    assert image.tobytes() == again.tobytes()
    assert labels == same
    others = [render_scene(3, "train", 6), render_scene(3, "test", 5), render_scene(4, "train", 5)]
    assert all(other.tobytes() != image.tobytes() for other, _ in others)


def test_the_data_set_holds_the_rendered_images(tmp_path: Path) -> None:
    images = load_data("scenes", "train", size=6, seed=2, cache_dir=tmp_path)
    assert (images.name, images.split, len(images), images.label_names) == ("scenes", "train", 6, SCENE_LABELS)
    for index in range(6):
        image, labels = render_scene(2, "train", index)
        assert images.image_ids[index] == f"train-{index:05d}"
        assert images.image(index).tobytes() == image.tobytes()
        assert np.flatnonzero(images.targets()[index] == 1).tolist() == labels
    assert set(np.unique(images.targets())) == {0, 1}


def test_a_second_call_renders_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_data("scenes", "test", size=3, cache_dir=tmp_path)
    monkeypatch.setattr(module, "render_scene", lambda *_: pytest.fail("rendered again"))
    second = load_data("scenes", "test", size=3, cache_dir=tmp_path)
    assert second.image(2).tobytes() == first.image(2).tobytes()


def test_counts_and_shares_of_the_labels() -> None:
    rows = [render_scene(0, "test", index)[1] for index in range(160)]
    counts = np.bincount([len(row) for row in rows], minlength=6)
    assert counts[:2].sum() == 0
    assert (counts[2:] > 12).all()
    shares = np.bincount(np.concatenate(rows), minlength=16) / len(rows)
    # A label is in 3.5 of 16 images on average; 160 images leave a standard error of 0.033.
    assert (abs(shares - 3.5 / 16) < 0.13).all()
    assert all(row == sorted(set(row)) for row in rows)


def thing(label: int, *shapes: Shape) -> module._Thing:
    return module._Thing(label, list(shapes), False, None)


@pytest.mark.parametrize(
    ("front", "visible"),
    [
        (box(0.2, 0.2, 0.8, 0.8, (0, 0, 0)), False),
        (box(0.3, 0.3, 0.55, 0.7, (0, 0, 0)), False),
        (box(0.3, 0.3, 0.45, 0.7, (0, 0, 0)), True),
        (box(0.75, 0.3, 0.9, 0.7, (0, 0, 0)), True),
        (box(0.8, 0.3, 1.1, 0.7, (0, 0, 0)), False),
        (box(0.8, 0.3, 1.05, 0.7, (0, 0, 0)), True),
    ],
)
def test_half_of_a_thing_must_be_in_sight_and_most_of_it_in_the_image(front: Shape, visible: bool) -> None:
    behind = thing(0, box(0.3, 0.3, 0.7, 0.7, (0, 0, 0)))
    assert module._all_visible([behind, thing(1, front)]) is visible


@pytest.mark.parametrize("name", SCENE_LABELS)
def test_each_thing_fills_its_box_in_several_looks(name: str) -> None:
    looks = [DRAWINGS[name](np.random.default_rng(seed)) for seed in range(40)]
    for shapes in looks:
        points = np.concatenate([shape.points for shape in shapes])
        assert np.abs(points).max() < 1.15
        assert (np.ptp(points, axis=0) > 0.8).all()
        assert all(0 <= level <= 255 for shape in shapes for level in shape.colour)
    assert len({tuple(shape.colour for shape in shapes) for shapes in looks}) == 40


def area(shape: Shape) -> float:
    x, y = shape.points.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def test_shapes_have_the_areas_of_geometry() -> None:
    black = (0, 0, 0)
    assert area(box(-1, 0, 1, 0.5, black)) == pytest.approx(1.0)
    assert area(polygon((0, 0), (1, 0), (0, 1), colour=black)) == pytest.approx(0.5)
    assert area(ellipse(0.3, 0.1, 0.5, 0.2, black, turn=0.1)) == pytest.approx(np.pi * 0.1, rel=0.02)
    upper = ellipse(0, 0, 1, 1, black, arc=(0.5, 1.0))
    assert area(upper) == pytest.approx(np.pi / 2, rel=0.02)
    assert upper.points[:, 1].max() < 1e-9
    turned = ellipse(0, 0, 1, 0.1, black, turn=0.25)
    assert np.abs(turned.points).max(axis=0) == pytest.approx([0.1, 1.0])
    (segment,) = stroke([(0, 0), (3, 4)], 0.2, black)
    assert area(segment) == pytest.approx((5 + 0.2) * 0.2)
    assert shaded((100, 200, 10), 1.5) == (150, 255, 15)


def test_things_are_drawn_over_one_another() -> None:
    canvas = Image.new("RGB", (64, 64))
    module._draw_things(canvas, [thing(0, box(0, 0, 0.6, 1, (255, 0, 0))), thing(1, box(0.4, 0, 1, 1, (0, 255, 0)))])
    assert [canvas.getpixel((x, 32)) for x in (10, 32, 60)] == [(255, 0, 0), (0, 255, 0), (0, 255, 0)]
    assert ImageDraw.Draw(canvas).im.size == (64, 64)


def test_masks_are_where_the_things_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without light and noise, an image in two grounds differs just where no thing is."""
    monkeypatch.setattr(module, "_photographed", lambda rng, canvas: canvas)
    for index in range(6):
        known, scenes = module.boxed_scene(5, "test", index), []
        for level in (0, 255):
            size = SCENE_SIDE * module._OVERSAMPLING
            monkeypatch.setattr(
                module,
                "landscape",
                lambda *_, level=level, size=size: Image.new("L", (size,) * 2, level).convert("RGB"),
            )
            scenes.append(np.asarray(render_scene(5, "test", index)[0]).astype(int))
        same = (scenes[0] == scenes[1]).all(axis=2)  # (256, 256); shadows let the ground through
        share = same.reshape(SCENE_SIDE, 2, SCENE_SIDE, 2).sum(axis=(1, 3))
        drawn = np.any(list(known.masks.values()), axis=0)
        assert drawn[share == 4].all()
        assert not drawn[share == 0].any()
        labels = [SCENE_LABELS[label] for label in render_scene(5, "test", index)[1]]
        assert sorted(known.masks) == sorted(known.boxes) == labels
        assert known.size == (SCENE_SIDE, SCENE_SIDE)
        for label, mask in known.masks.items():
            inside = np.zeros_like(mask)
            for left, top, right, bottom in known.of(label).astype(int):
                inside[top:bottom, left:right] = True
                edges = [mask[top, left:right], mask[bottom - 1, left:right]]
                edges += [mask[top:bottom, left], mask[top:bottom, right - 1]]
                assert all(edge.any() for edge in edges)
            assert inside[mask].all()


def test_what_is_in_front_covers_what_is_behind() -> None:
    for index in range(6):
        rng = np.random.default_rng([5, 1, index])  # 1 for "test"
        *behind, front = module._composed(rng)[2]
        canvas = Image.new("1", (2 * SCENE_SIDE,) * 2)
        for shape in front.shapes:
            ImageDraw.Draw(canvas).polygon((shape.points * canvas.width).ravel().tolist(), fill=1)
        wholly = np.asarray(canvas).reshape(SCENE_SIDE, 2, SCENE_SIDE, 2).all(axis=(1, 3))
        masks = module.boxed_scene(5, "test", index).masks
        assert wholly.sum() > 50
        assert masks[SCENE_LABELS[front.label]][wholly].all()
        others = {SCENE_LABELS[each.label] for each in behind if each.label != front.label}
        assert not any(masks[name][wholly].any() for name in others)


def test_boxes_of_the_data_set() -> None:
    problems = Problems()
    found = list_boxes("scenes", "test", problems, size=2, seed=3)
    assert list(found) == ["test-00000", "test-00001"]
    assert found["test-00001"].boxes == module.boxed_scene(3, "test", 1).boxes
    assert not problems.found
    with pytest.raises(SplitError, match="split is 'val', but scenes has train and test"):
        list_boxes("scenes", "val", problems)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="split is 'val', but scenes has train and test"):
        load_data("scenes", "val", cache_dir=tmp_path)
    with pytest.raises(InputError, match="size is 0"):
        load_data("scenes", "train", size=0, cache_dir=tmp_path)


def test_scenes_do_not_depend_on_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = load_data("scenes", "train", size=7, cache_dir=tmp_path / "alone")
    here, render = os.getpid(), module.render_scene
    monkeypatch.setattr(module, "_FEWEST", 2)
    monkeypatch.setattr(module, "_CHUNK", 1)
    monkeypatch.setattr(module, "_cpus", lambda: 3)
    monkeypatch.setattr(
        module, "render_scene", lambda *words: pytest.fail("in one") if os.getpid() == here else render(*words)
    )
    shared = load_data("scenes", "train", size=7, cache_dir=tmp_path / "shared")
    assert shared.image_ids == alone.image_ids
    assert [shared.image(row).tobytes() for row in range(7)] == [alone.image(row).tobytes() for row in range(7)]
    np.testing.assert_array_equal(shared.targets(), alone.targets())


@pytest.mark.parametrize("read", ["list(rows)", "next(rows); rows.close()"], ids=["to the end", "in part"])
def test_processes_that_render_end_although_the_program_handles_signals(read: str) -> None:
    """Their pool ends them by SIGTERM, and a fork inherits the handler of a training run."""
    program = f"""
import signal
from sct_hf.data import scenes

signal.signal(signal.SIGTERM, lambda *_: None)
scenes._FEWEST, scenes._cpus = 1, lambda: 2
rows = scenes._encoded_scenes(0, "train", 60, 0)
{read}
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
