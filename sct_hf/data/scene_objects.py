"""The objects of a scene: each is a list of coloured polygons in the box [-1, 1] x [-1, 1], y downwards."""

from collections.abc import Callable
from itertools import pairwise
from math import pi

import numpy as np
from numpy.random import Generator

from sct_hf.data.scene_shapes import DARK, WOOD, Shape, box, bright, ellipse, paint, polygon, shaded, stroke


def _balloon(rng: Generator) -> list[Shape]:
    colour = bright(rng)
    sway = rng.uniform(-0.15, 0.15)
    string = [(sway * np.sin(step), 0.35 + 0.65 * step / 4) for step in range(5)]
    return [
        *stroke(string, 0.04, DARK),
        polygon((-0.1, 0.48), (0.1, 0.48), (0, 0.3), colour=shaded(colour, 0.7)),
        ellipse(0, -0.3, 0.62, 0.7, shaded(colour, 0.85)),
        ellipse(-0.05, -0.34, 0.54, 0.62, colour),
        ellipse(-0.22, -0.54, 0.14, 0.22, (250, 250, 245), turn=0.06),
    ]


def _bench(rng: Generator) -> list[Shape]:
    wood = paint(rng, (0.02, 0.12), (0.3, 0.8), (0.35, 0.8)) if rng.random() < 0.7 else bright(rng)
    iron = paint(rng, (0, 1), (0, 0.2), (0.15, 0.4))
    shapes = [box(x, -0.55, x + 0.1, 0.9, iron) for x in (-0.85, 0.75)]
    slats = int(rng.integers(2, 4))
    shapes += [
        box(-1, -0.6 + 0.5 * n / slats, 1, -0.6 + 0.5 * (n + 0.62) / slats, shaded(wood, 0.9)) for n in range(slats)
    ]
    shapes += [box(x, 0.2, x + 0.12, 0.9, shaded(iron, 0.8)) for x in (-0.95, 0.83)]
    return [
        *shapes,
        polygon((-0.92, 0.05), (0.92, 0.05), (1, 0.3), (-1, 0.3), colour=wood),
        box(-1, 0.3, 1, 0.38, shaded(wood, 0.6)),
    ]


def _bird(rng: Generator) -> list[Shape]:
    body, wing = bright(rng), bright(rng)
    beak = paint(rng, (0.06, 0.14), (0.8, 1), (0.8, 1))
    head = [
        polygon((0.74, -0.36), (1.0, -0.24), (0.72, -0.16), colour=beak),
        ellipse(0.56, -0.28, 0.27, 0.25, body),
        ellipse(0.63, -0.34, 0.06, 0.06, DARK),
    ]
    tail = polygon((-0.45, -0.02), (-1.0, -0.28), (-0.92, 0.14), colour=shaded(body, 0.75))
    trunk = ellipse(0.02, 0.08, 0.62, 0.36, body, turn=-0.04)
    if rng.random() < 0.5:
        far = polygon((-0.05, -0.1), (0.1, -0.98), (0.42, -0.05), colour=shaded(wing, 0.7))
        near = polygon((-0.35, 0.0), (-0.5, -1.0), (0.2, 0.06), colour=wing)
        return [tail, far, trunk, near, *head]
    legs = [*stroke([(-0.05, 0.38), (-0.08, 0.92)], 0.06, beak), *stroke([(0.15, 0.38), (0.16, 0.92)], 0.06, beak)]
    belly = ellipse(0.18, 0.18, 0.36, 0.22, shaded(body, 1.35))
    return [*legs, tail, trunk, belly, ellipse(-0.1, 0.02, 0.42, 0.2, wing, turn=0.03), *head]


def _boat(rng: Generator) -> list[Shape]:
    hull = bright(rng)
    shapes = [
        polygon((-1, 0.35), (1, 0.35), (0.68, 0.9), (-0.72, 0.9), colour=hull),
        box(-0.97, 0.35, 0.96, 0.46, shaded(hull, 1.4)),
    ]
    if rng.random() < 0.65:
        sail = paint(rng, (0, 1), (0, 0.5), (0.8, 1))
        other = shaded(sail, 0.8) if rng.random() < 0.6 else bright(rng)
        shapes += stroke([(0.02, 0.35), (0.02, -1)], 0.07, WOOD)
        return [
            *shapes,
            polygon((0.1, -0.95), (0.1, 0.22), (0.85, 0.22), colour=sail),
            polygon((-0.06, -0.8), (-0.06, 0.22), (-0.7, 0.22), colour=other),
        ]
    cabin = paint(rng, (0, 1), (0, 0.35), (0.75, 1))
    shapes += [
        box(-0.5, -0.2, 0.4, 0.35, cabin),
        box(-0.58, -0.3, 0.48, -0.18, shaded(hull, 0.8)),
        box(0.02, -0.75, 0.24, -0.3, shaded(hull, 0.6)),
    ]
    return [*shapes, *(ellipse(x, 0.08, 0.11, 0.11, (90, 130, 165)) for x in (-0.28, 0.16))]


def _butterfly(rng: Generator) -> list[Shape]:
    upper, lower = bright(rng), bright(rng)
    spot = shaded(upper, 1.5) if rng.random() < 0.5 else DARK
    shapes = []
    for side in (-1, 1):
        shapes += [
            ellipse(side * 0.42, 0.42, 0.42, 0.36, lower, turn=side * 0.12),
            ellipse(side * 0.5, -0.3, 0.56, 0.42, upper, turn=-side * 0.1),
            ellipse(side * 0.58, -0.36, 0.2, 0.15, spot, turn=-side * 0.1),
            *stroke([(side * 0.03, -0.55), (side * 0.26, -0.98)], 0.04, DARK),
        ]
    return [*shapes, ellipse(0, 0.02, 0.09, 0.62, DARK)]


def _car(rng: Generator) -> list[Shape]:
    body = bright(rng) if rng.random() < 0.75 else paint(rng, (0, 1), (0, 0.12), (0.2, 0.95))
    glass = paint(rng, (0.5, 0.62), (0.15, 0.5), (0.6, 0.95))
    nose = rng.uniform(0.3, 0.75)
    roof = rng.uniform(-0.62, -0.4)
    shapes = [
        polygon((-0.78, 0), (-0.55, roof), (0.25, roof), (nose, 0), colour=shaded(body, 0.85)),
        polygon((-0.62, -0.02), (-0.47, roof + 0.1), (-0.17, roof + 0.1), (-0.17, -0.02), colour=glass),
        polygon((-0.06, -0.02), (-0.06, roof + 0.1), (0.19, roof + 0.1), (nose - 0.16, -0.02), colour=glass),
        polygon((-1, 0.06), (-0.92, -0.04), (0.85, -0.04), (1, 0.14), (1, 0.48), (-1, 0.48), colour=body),
        box(0.88, 0.1, 1.0, 0.24, (250, 235, 150)),
        box(-1.0, 0.1, -0.91, 0.24, (190, 40, 40)),
        box(-1, 0.4, 1, 0.5, shaded(body, 0.6)),
    ]
    for x in (-0.55, 0.55):
        shapes += [ellipse(x, 0.48, 0.25, 0.25, DARK), ellipse(x, 0.48, 0.11, 0.11, (175, 175, 180))]
    return shapes


def _cat(rng: Generator) -> list[Shape]:
    fur = (
        paint(rng, (0.04, 0.12), (0.1, 0.8), (0.25, 0.95))
        if rng.random() < 0.75
        else paint(rng, (0, 1), (0, 0.1), (0.15, 0.95))
    )
    pale, inner = shaded(fur, 1.35), (225, 150, 150)
    tail = [(0.42, 0.82), (0.78, 0.7), (0.88, 0.3), (0.7, rng.uniform(-0.1, 0.15))]
    shapes = [
        *stroke(tail, 0.15, shaded(fur, 0.8)),
        ellipse(0.02, 0.48, 0.46, 0.52, fur),
        ellipse(0.0, 0.58, 0.22, 0.34, pale),
    ]
    if rng.random() < 0.4:
        shapes += [ellipse(0.38, y, 0.14, 0.035, shaded(fur, 0.6), turn=0.02) for y in (0.3, 0.45, 0.6)]
    for side in (-1, 1):
        ear = [(side * 0.42, -0.98), (side * 0.44, -0.4), (side * 0.08, -0.66)]
        shapes += [
            polygon(*ear, colour=fur),
            polygon(*((0.35 * side * 0.31 + 0.65 * x, 0.65 * y - 0.24) for x, y in ear), colour=inner),
        ]
    shapes.append(ellipse(0, -0.34, 0.46, 0.4, fur))
    eye = paint(rng, (0.12, 0.35), (0.5, 0.9), (0.7, 0.95))
    for side in (-1, 1):
        shapes += [ellipse(side * 0.19, -0.4, 0.1, 0.11, eye), ellipse(side * 0.19, -0.4, 0.035, 0.1, DARK)]
        shapes += [
            *stroke([(side * 0.14, -0.18), (side * 0.62, -0.24)], 0.025, pale),
            *stroke([(side * 0.14, -0.14), (side * 0.6, -0.08)], 0.025, pale),
        ]
        shapes.append(ellipse(side * 0.18, 0.94, 0.17, 0.09, pale))
    return [*shapes, polygon((-0.07, -0.26), (0.07, -0.26), (0, -0.17), colour=inner)]


def _cloud(rng: Generator) -> list[Shape]:
    colour = paint(rng, (0.5, 0.95), (0, 0.12), (0.85, 1.0))
    puffs = []
    for x in np.linspace(-0.62, 0.62, int(rng.integers(3, 6))):
        radius = rng.uniform(0.3, 0.46) * (1.15 - 0.5 * abs(x))
        puffs.append((float(x), rng.uniform(-0.25, 0.0) * (1 - abs(x)), radius))
    shadow = shaded(colour, 0.82)
    return [
        *(ellipse(x, y + 0.12, radius, radius, shadow) for x, y, radius in puffs),
        ellipse(0, 0.2, 0.9, 0.24, shadow),
        *(ellipse(x, y, radius, radius, colour) for x, y, radius in puffs),
        ellipse(0, 0.12, 0.86, 0.2, colour),
    ]


def _fish(rng: Generator) -> list[Shape]:
    body, fin = bright(rng), bright(rng)
    depth = rng.uniform(0.34, 0.58)
    shapes = [
        polygon((-0.48, 0), (-1.0, -0.46), (-0.85, 0), (-1.0, 0.46), colour=fin),
        polygon((-0.25, -0.6 * depth), (0.05, -depth - 0.32), (0.4, -0.7 * depth), colour=fin),
        polygon((-0.1, 0.7 * depth), (-0.15, depth + 0.26), (0.2, 0.8 * depth), colour=shaded(fin, 0.8)),
        ellipse(0.18, 0, 0.8, depth, body),
        ellipse(0.2, 0.45 * depth, 0.6, 0.4 * depth, shaded(body, 1.35)),
    ]
    if rng.random() < 0.5:
        shapes += [ellipse(x, 0, 0.07, 0.8 * depth, fin) for x in (-0.2, 0.08, 0.36)]
    shapes += [
        ellipse(0.1, 0.08, 0.2, 0.1, shaded(fin, 0.9), turn=0.08),
        ellipse(0.68, -0.12, 0.12, 0.12, (245, 245, 240)),
    ]
    return [*shapes, ellipse(0.7, -0.12, 0.06, 0.06, DARK), *stroke([(0.84, 0.16), (0.97, 0.1)], 0.04, DARK)]


def _flower(rng: Generator) -> list[Shape]:
    petal = bright(rng) if rng.random() < 0.8 else (245, 240, 240)
    leaf = paint(rng, (0.24, 0.4), (0.5, 0.9), (0.3, 0.65))
    bend = rng.uniform(-0.15, 0.15)
    shapes = [*stroke([(0, 1), (bend, 0.4), (0, -0.35)], 0.09, leaf)]
    shapes += [ellipse(bend + side * 0.24, 0.52, 0.27, 0.1, shaded(leaf, 1.1), turn=-side * 0.08) for side in (-1, 1)]
    count, width = int(rng.integers(5, 9)), rng.uniform(0.17, 0.24)
    for turn in np.arange(count) / count + rng.random():
        x, y = 0.42 * np.cos(2 * pi * turn), 0.42 * np.sin(2 * pi * turn)
        shapes.append(ellipse(x, y - 0.3, 0.32, width, petal, turn=float(turn)))
    return [*shapes, ellipse(0, -0.3, 0.23, 0.23, paint(rng, (0.08, 0.16), (0.6, 1), (0.5, 1)))]


def _house(rng: Generator) -> list[Shape]:
    wall = paint(rng, (0, 1), (0.05, 0.55), (0.55, 1))
    roof = paint(rng, (0, 1), (0.3, 0.85), (0.3, 0.75))
    door = bright(rng)
    pane = paint(rng, (0.5, 0.62), (0.2, 0.6), (0.5, 0.95)) if rng.random() < 0.7 else (250, 225, 120)
    ridge = rng.uniform(0, 0.4)
    shapes = [
        box(0.38, -0.9, 0.58, -0.35, shaded(roof, 0.7)),
        box(-0.8, -0.2, 0.8, 1, wall),
        box(0.55, -0.2, 0.8, 1, shaded(wall, 0.85)),
        polygon((-1, -0.18), (-ridge, -0.98), (ridge, -0.98), (1, -0.18), colour=roof),
        box(-1, -0.22, 1, -0.14, shaded(roof, 0.7)),
    ]
    at = rng.choice([-0.55, -0.15, 0.2])
    shapes += [box(at, 0.35, at + 0.36, 1, door), ellipse(at + 0.28, 0.7, 0.04, 0.04, DARK)]
    for x in (-0.62, 0.28):
        if not at - 0.36 < x < at + 0.4:
            shapes += [
                box(x - 0.04, 0.14, x + 0.4, 0.6, (245, 245, 240)),
                box(x, 0.18, x + 0.36, 0.56, pane),
                *stroke([(x + 0.18, 0.16), (x + 0.18, 0.58)], 0.04, (245, 245, 240)),
            ]
    return shapes


def _mushroom(rng: Generator) -> list[Shape]:
    cap = paint(rng, (-0.06, 0.12), (0.5, 0.95), (0.4, 0.95)) if rng.random() < 0.7 else bright(rng)
    stalk = paint(rng, (0.08, 0.14), (0.05, 0.25), (0.75, 1))
    height = rng.uniform(0.75, 1.0)
    width = rng.uniform(0.18, 0.3)
    shapes = [
        polygon((-width, 0), (width, 0), (width + 0.12, 1), (-width - 0.12, 1), colour=stalk),
        polygon((0.3 * width, 0), (width, 0), (width + 0.12, 1), (0.5 * width, 1), colour=shaded(stalk, 0.85)),
        ellipse(0, 0.02, 0.92, 0.2, shaded(stalk, 0.75)),
        ellipse(0, 0.04, 0.96, height, cap, arc=(0.5, 1.0)),
    ]
    if rng.random() < 0.75:
        dot = (250, 245, 235)
        spots = [(-0.5, -0.28, 0.13), (0.05, -0.55, 0.15), (0.52, -0.22, 0.12), (-0.12, -0.2, 0.1)]
        shapes += [ellipse(x, y * height, radius, 0.8 * radius, dot) for x, y, radius in spots]
    return shapes


def _snowman(rng: Generator) -> list[Shape]:
    snow = paint(rng, (0.5, 0.7), (0, 0.12), (0.85, 1))
    shade, cloth = shaded(snow, 0.85), bright(rng)
    shapes = [
        *stroke([(-0.3, -0.05), (-0.92, -0.4)], 0.05, WOOD),
        *stroke([(0.3, -0.05), (0.92, rng.uniform(-0.5, 0.1))], 0.05, WOOD),
        ellipse(0, 0.56, 0.52, 0.46, shade),
        ellipse(-0.04, 0.53, 0.47, 0.42, snow),
        ellipse(0, -0.04, 0.38, 0.34, shade),
        ellipse(-0.03, -0.06, 0.34, 0.3, snow),
        ellipse(0, -0.5, 0.28, 0.27, snow),
        *(ellipse(0, y, 0.045, 0.045, DARK) for y in (-0.06, 0.12, 0.45)),
        *(ellipse(x, -0.56, 0.04, 0.05, DARK) for x in (-0.1, 0.1)),
        polygon((-0.02, -0.5), (0.36, -0.42), (-0.02, -0.4), colour=(235, 125, 40)),
        box(-0.28, -0.32, 0.28, -0.2, cloth),
    ]
    hat = DARK if rng.random() < 0.5 else shaded(cloth, 0.8)
    return [*shapes, box(-0.36, -0.76, 0.36, -0.68, hat), box(-0.22, -1, 0.22, -0.7, hat)]


def _sun(rng: Generator) -> list[Shape]:
    colour = paint(rng, (0.04, 0.16), (0.5, 1.0), (0.9, 1.0))
    if rng.random() < 0.15:
        return [
            ellipse(0, 0, radius, radius, shaded(colour, factor))
            for radius, factor in ((0.95, 0.86), (0.8, 0.93), (0.66, 1.05))
        ]
    count, turn0 = int(rng.integers(8, 15)), rng.random()
    shapes = []
    for turn in turn0 + np.arange(count) / count:
        reach = rng.uniform(0.85, 1.0)
        corners = [(0.6, turn - 0.25 / count), (reach, turn), (0.6, turn + 0.25 / count)]
        shapes.append(
            polygon(
                *((r * np.cos(2 * pi * t), r * np.sin(2 * pi * t)) for r, t in corners), colour=shaded(colour, 0.92)
            )
        )
    return [*shapes, ellipse(0, 0, 0.54, 0.54, colour), ellipse(-0.08, -0.08, 0.36, 0.36, shaded(colour, 1.12))]


def _tree(rng: Generator) -> list[Shape]:
    autumn = rng.random() < 0.2
    leaf = (
        paint(rng, (-0.02, 0.14), (0.5, 0.9), (0.5, 0.9))
        if autumn
        else paint(rng, (0.2, 0.42), (0.4, 0.9), (0.25, 0.7))
    )
    bark = paint(rng, (0.04, 0.1), (0.3, 0.6), (0.25, 0.5))
    shapes = [polygon((-0.11, 0), (0.11, 0), (0.17, 1), (-0.17, 1), colour=bark)]
    if rng.random() < 0.4:
        for top, bottom, width in ((-0.3, 0.6, 0.75), (-0.66, 0.15, 0.6), (-0.98, -0.3, 0.45)):
            shapes.append(polygon((0, top), (width, bottom), (-width, bottom), colour=leaf))
            shapes.append(polygon((0, top), (width, bottom), (0.2 * width, bottom), colour=shaded(leaf, 0.8)))
        return shapes
    centres = [(-0.4, -0.1), (0.42, -0.12), (0.0, -0.5), (rng.uniform(-0.3, 0.3), -0.2)]
    shapes += stroke([(0, 0.4), (0.3, 0.05)], 0.08, bark)
    shapes += [ellipse(x, y + 0.06, 0.46, 0.42, shaded(leaf, 0.8)) for x, y in centres]
    shapes += [ellipse(x - 0.05, y - 0.04, 0.36, 0.32, leaf) for x, y in centres]
    if rng.random() < 0.35:
        fruit = paint(rng, (-0.05, 0.12), (0.7, 1), (0.7, 1))
        places = zip(rng.uniform(-0.6, 0.6, size=6), rng.uniform(-0.75, 0.15, size=6), strict=True)
        shapes += [ellipse(x, y, 0.08, 0.08, fruit) for x, y in places]
    return shapes


def _umbrella(rng: Generator) -> list[Shape]:
    first = bright(rng)
    second = bright(rng) if rng.random() < 0.5 else (245, 240, 235)
    handle = paint(rng, (0, 1), (0, 0.6), (0.15, 0.4))
    hook = [(0, -1), (0, 0.78), (0.08, 0.94), (0.22, 0.94), (0.3, 0.78)]
    shapes = [*stroke(hook, 0.09, handle), ellipse(0, 0, 1, 0.85, first, arc=(0.5, 1.0))]
    edges = (-1.0, -0.55, 0.0, 0.55, 1.0)
    for number, (left, right) in enumerate(pairwise(edges)):
        rim = [(x, -0.85 * float(np.sqrt(1 - x * x))) for x in np.linspace(left, right, 6)]
        scallop = [(right, 0.02), ((left + right) / 2, -0.12), (left, 0.02)]
        shapes.append(polygon(*rim, *scallop, colour=first if number % 2 else second))
    return shapes


DRAWINGS: dict[str, Callable[[Generator], list[Shape]]] = {
    "balloon": _balloon,
    "bench": _bench,
    "bird": _bird,
    "boat": _boat,
    "butterfly": _butterfly,
    "car": _car,
    "cat": _cat,
    "cloud": _cloud,
    "fish": _fish,
    "flower": _flower,
    "house": _house,
    "mushroom": _mushroom,
    "snowman": _snowman,
    "sun": _sun,
    "tree": _tree,
    "umbrella": _umbrella,
}
