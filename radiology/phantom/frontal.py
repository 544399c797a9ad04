"""The frontal chest without disease: soft tissue, lungs, heart, and the bones that lie over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiology.phantom.canvas import (
    AXIS,
    Array,
    Frame,
    bell,
    clouds,
    look_up,
    ramp,
    smooth_step,
    table_index,
)
from radiology.phantom.person import Person, cage_table, dome_table, heart_tables, inner_table
from radiology.phantom.vessels import hila


@dataclass
class Frontal:
    """Fields (size, size) of one frontal view in patient coordinates. ``offset`` is x minus midline."""

    person: Person
    frame: Frame
    size: int
    x: Array
    y: Array
    offset: Array
    distance: Array
    x_index: Array
    y_index: Array
    is_left: Array
    cage: Array  # 1 inside the rib cage and beside the midline, above the end of the costophrenic angle
    above: Array  # 1 above the diaphragm
    lung: Array  # 1 where aerated lung is seen without heart or diaphragm in front
    tissue: Array  # density where no lung is
    dome: Array  # patient y of the diaphragm over each pixel's x
    heart: Array  # 1 inside heart and great vessels of normal size


def lay_out(person: Person, frame: Frame, size: int) -> Frontal:
    """Coordinates and the static shapes of one person."""
    x, y = frame.fields(size)
    offset = x - np.float32(person.mid)
    distance = np.abs(offset)
    x_index, y_index = table_index(x), table_index(y)
    is_left = (offset > 0).astype(np.float32)
    cage = ramp(look_up(cage_table(person), y_index) - distance, 0.014)
    cage *= ramp(distance - look_up(inner_table(person), y_index), 0.02)
    dome = look_up(dome_table(person), x_index)
    above = ramp(dome - y, 0.016)
    view = Frontal(
        person,
        frame,
        size,
        x,
        y,
        offset,
        distance,
        x_index,
        y_index,
        is_left,
        cage,
        above,
        cage * above,
        cage,
        dome,
        cage,
    )
    view.heart = heart_shape(view, 0.0)
    view.lung *= 1 - view.heart
    view.tissue = _tissue(view)
    return view


def heart_shape(view: Frontal, extra: float) -> Array:
    """1 inside heart and great vessels; ``extra`` as in :func:`~radiology.phantom.person.heart_tables`."""
    right, left = heart_tables(view.person, extra)
    shape = ramp(look_up(left, view.y_index) - view.offset, 0.02)
    shape *= ramp(view.offset + look_up(right, view.y_index), 0.02)
    return shape


def _tissue(view: Frontal) -> Array:
    """Density of everything but lung: trunk, mediastinum with spine, abdomen, shoulders, neck."""
    person, y = view.person, view.y
    profile = 0.5 + 0.05 * smooth_step((AXIS - 0.25) / 0.5) - 0.07 * np.clip((0.12 - AXIS) / 0.12, 0, 1)
    tissue = look_up(profile.astype(np.float32), view.y_index)
    tissue += look_up(0.15 * bell(AXIS, person.mid, 0.06) + 0.03 * bell(AXIS, person.mid, 0.2), view.x_index)
    belly = ramp(y - view.dome - np.float32(0.02), 0.1)
    belly *= look_up(
        (0.13 * (1 - np.clip(1.2 * np.abs(AXIS - person.mid) - 0.3, 0, 1))).astype(np.float32), view.x_index
    )
    tissue += belly
    low = slice(int(0.6 * view.size), None)
    tissue[low] -= np.float32(0.26) * _gas(view, low)
    return tissue


def _gas(view: Frontal, rows: slice) -> Array:
    """Gastric bubble under the left dome."""
    person = view.person
    cx, cy = 0.15 + 0.05 * person.draws[12], person.dome_left + 0.065 + 0.02 * person.draws[13]
    rx, ry = 0.05 + 0.025 * person.draws[14], 0.028 + 0.014 * person.draws[15]
    u, v = (
        (view.offset[rows] - np.float32(cx)) * np.float32(1 / rx),
        (view.y[rows] - np.float32(cy)) * np.float32(1 / ry),
    )
    u *= u
    v *= v
    return ramp(1 - (u + v), 0.9)


def soft_parts(view: Frontal) -> Array:
    """Lungs in their tissue, heart, airways, breast: the density (0 air … 1 metal) before lesions and bones."""
    person = view.person
    density = view.tissue.copy()
    air = look_up((0.17 + 0.07 * smooth_step((AXIS - 0.25) / 0.55)).astype(np.float32), view.y_index)
    air += np.float32(0.035 * person.habitus)
    retro = view.cage * ramp(view.dome + np.float32(0.03) - view.y, 0.16)
    density -= np.float32(0.045) * retro
    density += view.lung * (air - density)
    head = slice(0, int(0.56 * view.size))
    density[head] -= np.float32(0.16) * _airway(view, head)
    if person.female:
        density += _breast(view) * np.float32(0.055 + 0.03 * max(person.habitus, -0.6))
    density += np.float32(0.02) * clouds(view.size, *person.draws[16:18])
    return density


def _airway(view: Frontal, rows: slice) -> Array:
    """Trachea down to the carina and the two main bronchi."""
    person, index = view.person, view.y_index[rows]
    half = 0.017 + 0.003 * person.draws[18]
    below = np.clip(AXIS - person.carina, 0, None)
    width = np.where(person.carina > AXIS, half, -1.0)
    centre = person.mid - 0.004 - 0.006 * person.draws[19]
    trachea = ramp(look_up(width.astype(np.float32), index) - np.abs(view.x[rows] - np.float32(centre)), 0.012)
    reach = below / 0.11
    fade = np.where((reach > 0) & (reach < 1), 1 - reach, 0.0) * 0.75
    track = (0.012 + 0.95 * below).astype(np.float32)
    bronchi = ramp(np.float32(0.013) - np.abs(view.distance[rows] - look_up(track, index)), 0.016)
    return trachea + bronchi * look_up(fade.astype(np.float32), index)


def _breast(view: Frontal) -> Array:
    person = view.person
    rx, ry = 0.15 + 0.02 * person.habitus, 0.145 + 0.02 * person.draws[20]
    u = (view.distance - np.float32(0.225 + 0.02 * person.draws[21])) * np.float32(1 / rx)
    v = (view.y - np.float32(0.585 + 0.05 * person.draws[22])) * np.float32(1 / ry)
    u *= u
    v *= v
    shape = ramp(1 - (u + v), 0.35)
    shape *= np.clip(np.float32(0.55) + np.float32(2.8) * (view.y - np.float32(0.5)), 0, 1)
    return shape


def hilar_shadow(view: Frontal) -> Array:
    """The two hila as soft bright bodies."""
    (rx, ry), (lx, ly) = hila(view.person)
    rows = look_up(bell(AXIS, 0.5 * (ry + ly), 0.06), view.y_index)
    rows *= look_up(bell(AXIS, rx + 0.012, 0.026) + bell(AXIS, lx - 0.012, 0.026), view.x_index)
    return rows


def bones(view: Frontal) -> Array:
    """Density that ribs, clavicles, scapulae, vertebrae and shoulders add."""
    person = view.person
    field = _ribs(view)
    field *= np.float32(0.25) + np.float32(0.75) * view.cage * (np.float32(0.35) + np.float32(0.65) * view.above)
    head = slice(0, int(0.53 * view.size))
    field[head] += _girdle(view, head)
    vertebra = np.float32(0.022) * np.sin((view.y + np.float32(person.draws[23])) * np.float32(2 * np.pi / 0.052))
    field += vertebra * look_up(bell(AXIS, person.mid, 0.04), view.x_index)
    return field


_TURN = 256


def _rib_profile() -> Array:
    """Brightness over one rib period: a flat body with denser edges."""
    phase = np.arange(_TURN) / _TURN
    body = smooth_step((0.25 - np.abs(phase - 0.5)) / 0.06 + 0.5)
    rim = bell(phase, 0.28, 0.055) * 0.35 + bell(phase, 0.72, 0.055) * 0.6
    return (0.85 * body + rim).astype(np.float32)


_RIB = _rib_profile()


def _ribs(view: Frontal) -> Array:
    """Posterior arcs, and fainter anterior ones that run the other way."""
    person = view.person
    outward = view.distance * np.float32(1 / person.half_width)
    square = outward * outward
    depth = np.clip(view.y * np.float32(1.6) - np.float32(0.2), 0, 1.2)
    arc = square * square * np.float32(0.16) - outward * np.float32(0.06)
    arc *= (np.float32(0.55) + depth) * np.float32(person.rib_slope)
    density = np.float32(0.075) * _periodic(view.y - arc, person.rib_start, person.rib_spacing)
    ramp_down = np.float32(0.2) * (1 - outward) - np.float32(0.07) * square
    front = _periodic(view.y - ramp_down, person.rib_start + 0.4 * person.rib_spacing, 1.14 * person.rib_spacing)
    front *= np.clip(outward * np.float32(2.6) - np.float32(0.95), 0, 1)
    density += np.float32(0.033) * front
    fade = np.clip((np.float32(person.dome_right + 0.19) - view.y) * np.float32(9), np.float32(0.1), 1)
    fade *= np.clip((view.y - np.float32(person.apex - 0.005)) * np.float32(40), 0, 1)
    density *= fade
    return density


def _periodic(height: Array, start: float, spacing: float) -> Array:
    phase = (height - np.float32(start)) * np.float32(_TURN / spacing)
    return np.take(_RIB, phase.astype(np.intp) & (_TURN - 1), mode="clip")


def _girdle(view: Frontal, rows: slice) -> Array:
    """Clavicles, scapulae and humeral heads, for the upper rows."""
    person = view.person
    d, y, index = view.distance[rows], view.y[rows], view.x_index[rows]
    away = np.abs(AXIS - np.float32(person.mid))
    tilt = 0.02 * (person.draws[24] - 0.5)
    clavicle = 0.212 - 0.215 * away - 0.02 * np.sin(away * 17) + tilt * np.sign(AXIS - person.mid)
    gap = np.abs(y - look_up(clavicle.astype(np.float32), index))
    bar = ramp(np.float32(0.0165) - gap, 0.009) * np.float32(0.6)
    bar += ramp(np.float32(0.006) - np.abs(gap - np.float32(0.013)), 0.008) * np.float32(0.55)
    density = np.float32(0.15) * bar * ramp(d - np.float32(0.035), 0.02) * ramp(np.float32(0.385) - d, 0.02)
    border = (0.262 if person.supine else 0.322) + 0.012 * person.draws[25]
    medial = d - np.float32(border) - np.float32(0.14) * (y - np.float32(0.15))
    inside = ramp(medial, 0.012) * ramp(np.float32(0.46) - y - np.float32(1.6) * (d - np.float32(border + 0.05)), 0.03)
    inside *= ramp(y - np.float32(0.15), 0.04)
    rim = (
        ramp(np.float32(0.006) - np.abs(medial), 0.01)
        * ramp(np.float32(0.45) - y, 0.05)
        * ramp(y - np.float32(0.16), 0.04)
    )
    density += np.float32(0.05) * inside + np.float32(0.05) * rim
    u, v = d - np.float32(0.455), y - np.float32(0.175)
    density += np.float32(0.075) * ramp(np.float32(0.06) - np.sqrt(u * u + v * v), 0.02)
    density += (
        np.float32(0.06)
        * ramp(np.float32(0.034) - np.abs(d - np.float32(0.46) - np.float32(0.2) * v), 0.01)
        * ramp(v, 0.05)
    )
    return density
