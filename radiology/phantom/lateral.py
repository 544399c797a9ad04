"""The lateral chest without disease. The patient looks to the viewer's left, the spine is on the right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from radiology.phantom.canvas import (
    AXIS,
    Array,
    Frame,
    bell,
    blur,
    clouds,
    dots,
    look_up,
    ramp,
    smooth_step,
    table_index,
)
from radiology.phantom.person import Person

HILUM = (0.515, 0.43)


@dataclass
class Lateral:
    """Fields (size, size) of one lateral view in patient coordinates."""

    person: Person
    frame: Frame
    size: int
    x: Array
    y: Array
    x_index: Array
    y_index: Array
    chest: Array  # 1 between sternum and spine side ribs, below the apex
    above: Array  # 1 above both diaphragms, about ½ between the two domes
    lung: Array
    tissue: Array


@lru_cache(maxsize=1)
def front_table() -> Array:
    """Anterior end of the lungs: patient x over y."""
    return (0.27 - 0.2 * np.clip(AXIS - 0.1, 0, 0.55) + 0.1 * np.clip((0.2 - AXIS) / 0.1, 0, 1) ** 2).astype(np.float32)


@lru_cache(maxsize=1)
def back_table() -> Array:
    """Posterior end of the lungs: patient x over y."""
    return (0.72 + 0.15 * np.sin(np.clip((AXIS - 0.08) / 0.8, 0, 1) * np.pi * 0.72)).astype(np.float32)


@lru_cache(maxsize=1)
def spine_table() -> Array:
    """Middle of the vertebral bodies: patient x over y."""
    return (0.665 + 0.14 * np.sin(np.clip((AXIS + 0.02) / 1.0, 0, 1) * np.pi * 0.68)).astype(np.float32)


def dome_tables(person: Person) -> tuple[Array, Array]:
    """Right and left diaphragm: patient y over x; steep towards the back."""
    return _dome(person.dome_right - 0.03), _dome(person.dome_left - 0.012)


def _dome(top: float) -> Array:
    back = np.clip((AXIS - 0.38) / 0.47, 0, 1.2)
    front = np.clip((0.38 - AXIS) / 0.25, 0, 1)
    return (top + 0.155 * back**2 + 0.045 * front**2).astype(np.float32)


def lay_out_lateral(person: Person, frame: Frame, size: int) -> Lateral:
    """Coordinates and the static shapes of one person from the side."""
    x, y = frame.fields(size)
    x_index, y_index = table_index(x), table_index(y)
    chest = ramp(x - look_up(front_table(), y_index), 0.02) * ramp(look_up(back_table(), y_index) - x, 0.02)
    chest *= ramp(y - np.float32(person.apex - 0.02), 0.05)
    right, left = dome_tables(person)
    above = np.float32(0.5) * ramp(look_up(right, x_index) - y, 0.014)
    above += np.float32(0.5) * ramp(look_up(left, x_index) - y, 0.014)
    view = Lateral(person, frame, size, x, y, x_index, y_index, chest, above, chest, chest)
    view.lung = chest * above * (1 - np.float32(0.9) * lateral_heart(view, 0.0))
    view.tissue = _tissue(view)
    return view


def lateral_heart(view: Lateral, extra: float) -> Array:
    """1 inside the heart; ``extra`` widens it as on the frontal view."""
    person = view.person
    scale = person.heart_ratio / 0.44
    rx, ry = 0.15 * scale + 0.42 * extra, 0.215 * scale + 0.2 * extra
    u = view.x - np.float32(0.315 + 0.3 * extra)
    v = view.y - np.float32(person.dome_left - 0.125 - 0.08 * extra)
    along_axis, across = (u * np.float32(0.88) + v * np.float32(0.47)), (v * np.float32(0.88) - u * np.float32(0.47))
    along_axis *= np.float32(1 / rx)
    across *= np.float32(1 / ry)
    along_axis *= along_axis
    across *= across
    return ramp(1 - (along_axis + across), 0.42)


def _tissue(view: Lateral) -> Array:
    person = view.person
    rows = 0.5 + 0.06 * smooth_step((AXIS - 0.3) / 0.5) + 0.1 * np.clip((0.22 - AXIS) / 0.1, 0, 1)
    tissue = look_up(rows.astype(np.float32), view.y_index)
    right, left = dome_tables(person)
    below = ramp(view.y - look_up(np.minimum(right, left), view.x_index) - np.float32(0.02), 0.1)
    tissue += np.float32(0.1) * below
    cx, cy = 0.33 + 0.08 * person.draws[12], person.dome_left + 0.06
    u, v = (view.x - np.float32(cx)) * np.float32(1 / 0.075), (view.y - np.float32(cy)) * np.float32(1 / 0.03)
    u *= u
    v *= v
    tissue -= np.float32(0.2) * ramp(1 - (u + v), 0.9)
    return tissue


def lateral_soft_parts(view: Lateral) -> Array:
    """Lungs in their tissue, great vessels, hilum, airway: density before lesions and bones."""
    person = view.person
    density = view.tissue.copy()
    air = 0.29 - 0.1 * smooth_step((AXIS - 0.25) / 0.45) + 0.03 * person.habitus
    depth = look_up((0.1 * bell(AXIS, 0.5, 0.16)).astype(np.float32), view.x_index)
    air_field = look_up(air.astype(np.float32), view.y_index) + depth
    density += view.lung * (air_field - density)
    density += np.float32(0.1) * view.lung * _great_vessels(view)
    hilum = look_up(bell(AXIS, HILUM[0], 0.05), view.x_index) * look_up(bell(AXIS, HILUM[1], 0.055), view.y_index)
    density += np.float32(0.17) * hilum * view.lung
    density += np.float32(0.16) * view.lung * _vessels(view)
    density -= np.float32(0.13) * _airway(view)
    density += np.float32(0.02) * clouds(view.size, *person.draws[26:28])
    return density


def airway_table(person: Person) -> Array:
    """Middle of the trachea: patient x over y."""
    return (0.465 + 0.14 * np.clip(AXIS, 0, person.carina + 0.05)).astype(np.float32)


def _airway(view: Lateral) -> Array:
    tube = ramp(np.float32(0.019) - np.abs(view.x - look_up(airway_table(view.person), view.y_index)), 0.014)
    tube *= ramp(np.float32(view.person.carina + 0.03) - view.y, 0.06)
    return tube


def _great_vessels(view: Lateral) -> Array:
    """Aortic arch and descending aorta."""
    u, v = view.x - np.float32(0.53), view.y - np.float32(0.36)
    radius = np.sqrt(u * u + np.float32(0.8) * v * v)
    arch = ramp(np.float32(0.032) - np.abs(radius - np.float32(0.1)), 0.05) * ramp(-v, 0.08)
    down = ramp(np.float32(0.032) - np.abs(view.x - np.float32(0.645) - np.float32(0.1) * v), 0.04) * ramp(v, 0.05)
    return arch + np.float32(0.55) * down


def _vessels(view: Lateral) -> Array:
    points, weight = _vessel_points(view.person.vessel_seed)
    return blur(dots(view.frame, view.size, points, weight), 0.75 / 140)


@lru_cache(maxsize=64)
def _vessel_points(seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng([seed, 7])
    count, steps = 54, 22
    angle = rng.uniform(0, 2 * np.pi, count)
    start = rng.uniform(0.015, 0.15, count)
    length = rng.uniform(0.07, 0.2, count)
    t = np.linspace(0, 1, steps)[None, :]
    heading = angle[:, None] + rng.uniform(-0.9, 0.9, count)[:, None] * (0.4 + t)
    x = HILUM[0] + (start * np.cos(angle))[:, None] + np.cumsum(np.cos(heading), axis=1) * length[:, None] / steps
    y = HILUM[1] + (start * np.sin(angle))[:, None] + np.cumsum(np.sin(heading), axis=1) * length[:, None] / steps
    weight = rng.uniform(0.25, 0.75, count)[:, None] * (1 - 0.75 * t) * np.clip(0.3 + 4 * t, 0, 1)
    return np.stack([x.ravel(), y.ravel()], axis=1), weight.ravel()


def lateral_bones(view: Lateral) -> Array:
    """Density of spine, sternum, ribs, raised arms."""
    person = view.person
    middle = look_up(spine_table(), view.y_index)
    gap = np.abs(view.x - middle)
    body = ramp(np.float32(0.036) - gap, 0.014)
    period = (view.y + np.float32(0.22) * (view.x - middle) + np.float32(person.draws[23])) * np.float32(
        2 * np.pi / 0.062
    )
    plates = np.float32(0.74) + np.float32(0.26) * np.cos(period)
    arch = ramp(np.float32(0.022) - np.abs(view.x - middle - np.float32(0.07)), 0.02) * np.float32(0.5)
    density = np.float32(0.125) * body * plates + np.float32(0.07) * arch * plates
    front = view.x - look_up(front_table(), view.y_index) + np.float32(0.018)
    sternum = ramp(np.float32(0.012) - np.abs(front), 0.01) * ramp(np.float32(0.56) - view.y, 0.04)
    density += np.float32(0.14) * sternum * ramp(view.y - np.float32(0.19), 0.02)
    slope = np.float32(0.42) * (np.float32(0.84) - view.x) + np.float32(0.25) * (np.float32(0.84) - view.x) ** 2
    rib = np.sin((view.y - slope - np.float32(person.rib_start)) * np.float32(2 * np.pi / person.rib_spacing))
    density += (
        np.float32(0.024) * np.clip(rib * np.float32(2.5) - np.float32(0.4), 0, 1) * (view.chest * np.float32(0.9))
    )
    top = slice(0, int(0.3 * view.size))
    x, y = view.x[top], view.y[top]
    for place, width in ((0.3, 0.05), (0.4, 0.042)):
        arm = np.abs(x - np.float32(place) - np.float32(0.55) * y)
        density[top] += np.float32(0.06) * ramp(np.float32(width) - arm, 0.02) * ramp(np.float32(0.17) - y, 0.06)
    return density


def lateral_body(view: Lateral) -> Array:
    """1 inside the skin."""
    person = view.person
    heavy = 0.03 * person.habitus
    breast = 0.045 * bell(AXIS, 0.56, 0.12) * (1.2 + person.habitus) if person.female else 0.0
    skin = front_table() - 0.05 - heavy - breast - 0.04 * smooth_step((AXIS - 0.7) / 0.2)
    skin -= 0.2 * np.clip((0.16 - AXIS) / 0.16, 0, 1)
    back = back_table() + 0.075 + heavy
    return ramp(view.x - look_up(skin.astype(np.float32), view.y_index), 0.014) * ramp(
        look_up(back.astype(np.float32), view.y_index) - view.x, 0.014
    )
