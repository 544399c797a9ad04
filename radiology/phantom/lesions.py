"""Diseases on the frontal view. Each function changes ``density`` in place and returns a truth mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiology.phantom.canvas import (
    AXIS,
    Array,
    Window,
    along,
    bell,
    blur,
    clouds,
    look_up,
    ramp,
    stroke,
    table_at,
    window_around,
)
from radiology.phantom.changes import apply_change, apply_local
from radiology.phantom.factors import FINDING_KEYS, Factors
from radiology.phantom.frontal import Frontal, heart_shape
from radiology.phantom.lateral import Lateral
from radiology.phantom.person import cage_table
from radiology.phantom.vessels import hila

SUBTLE = 0.5
HEART_EXTRA = {"mild": 0.105, "marked": 0.205}
ZONE_HEIGHT = {"upper": 0.27, "mid": 0.44, "lower": 0.605}


@dataclass
class Aeration:
    """What later lesions must know: seen lung, and lung that fluid or air has not displaced."""

    lung: Array
    free: Array


def place_of(view: Frontal, key: str) -> Array:
    """The person's private random numbers (8) for a finding."""
    return view.person.places[FINDING_KEYS.index(key)]


def draw_lesions(view: Frontal, density: Array, vessel: Array, factors: Factors) -> dict[str, Array]:
    """Draw every disease of ``factors``; masks by finding key."""
    masks: dict[str, Array] = {}
    state = Aeration(view.lung, np.ones_like(density))
    if factors.cardiomegaly:
        masks["cardiomegaly"] = _cardiomegaly(view, density, HEART_EXTRA[factors.cardiomegaly], state)
    for side in ("right", "left"):
        size = getattr(factors, f"effusion_{side}")
        if size:
            strength = SUBTLE + 0.08 if f"effusion_{side}" in factors.subtle else 1.0
            masks[f"pleural_effusion:{side}"] = _effusion(view, density, side, size, strength, state)
        size = getattr(factors, f"pneumothorax_{side}")
        if size:
            strength = SUBTLE + 0.05 if f"pneumothorax_{side}" in factors.subtle else 1.0
            masks[f"pneumothorax:{side}"] = _pneumothorax(view, density, side, size, strength, state)
    if factors.edema:
        masks["pulmonary_edema"] = _edema(view, density, vessel, factors.edema == "severe", state)
    for side in ("right", "left"):
        zone = getattr(factors, f"consolidation_{side}")
        if zone:
            strength = SUBTLE if f"consolidation_{side}" in factors.subtle else 1.0
            masks[f"consolidation:{side}"] = _consolidation(view, density, side, zone, strength, state)
        zone = getattr(factors, f"nodule_{side}")
        if zone:
            strength = SUBTLE + 0.05 if f"nodule_{side}" in factors.subtle else 1.0
            masks[f"lung_nodule:{side}"] = _nodule(view, density, side, zone, strength)
    return masks


def _on_side(view: Frontal, side: str) -> Array:
    return view.is_left if side == "left" else 1 - view.is_left


def _cardiomegaly(view: Frontal, density: Array, extra: float, state: Aeration) -> Array:
    shape = heart_shape(view, extra)
    # Only beyond the old border, or the soft old edge would change too.
    fuller = shape * np.clip(np.float32(6) * (shape - view.heart), 0, 1) * view.cage * view.above
    change = fuller * np.maximum(view.tissue - np.float32(0.045) - density, 0)
    mask, kept = apply_change(density, change)
    state.lung = state.lung * (1 - fuller * kept)
    return mask


def _effusion(view: Frontal, density: Array, side: str, size: str, strength: float, state: Aeration) -> Array:
    person, place = view.person, place_of(view, f"pleural_effusion:{side}")
    dome = person.dome_left if side == "left" else person.dome_right
    outward = np.clip(np.abs(AXIS - np.float32(person.mid)) / person.half_width, 0, 1)
    if size == "small":
        level = dome + 0.075 - (0.145 + 0.03 * place[0]) * outward**2.2
    else:
        level = dome + 0.03 - (0.2 + 0.05 * place[0]) - (0.14 + 0.03 * place[1]) * outward**3
    amount = ramp(view.y - look_up(level.astype(np.float32), view.x_index), 0.03 if size == "small" else 0.04)
    amount *= view.cage
    amount *= _on_side(view, side)
    target = np.float32(0.64)
    change = amount * np.maximum(target - density, 0) * np.float32(strength)
    mask, kept = apply_change(density, change)
    gone = 1 - amount * kept * np.float32(strength)
    state.lung = state.lung * gone
    state.free = state.free * gone
    return mask


def _pneumothorax(view: Frontal, density: Array, side: str, size: str, strength: float, state: Aeration) -> Array:
    person, place = view.person, place_of(view, f"pneumothorax:{side}")
    small = size == "small"
    drop = 0.085 + 0.03 * place[0] if small else 0.13 + 0.03 * place[0]
    cage = cage_table(person)
    depth = np.clip((AXIS - person.apex) / (person.dome_right - person.apex), 0, 1)
    gap = 0.045 * np.clip(1 - depth / 0.6, 0, 1) if small else 0.115 + 0.03 * place[1] - 0.035 * depth
    edge = np.interp(AXIS - drop, AXIS, cage) - gap
    slope = np.gradient(edge, AXIS)
    steep = (1 / np.sqrt(1 + np.clip(slope, -4, 4) ** 2)).astype(np.float32)
    if small:
        steep = np.where(depth > 0.6, 0, steep)
    beyond = (view.distance - look_up(edge.astype(np.float32), view.y_index)) * look_up(steep, view.y_index)
    lung = state.lung * _on_side(view, side)
    void = ramp(beyond - np.float32(0.004), 0.008) * lung
    if small:
        void *= (view.y < np.float32(person.apex + 0.6 * (person.dome_right - person.apex))).astype(np.float32)
    line = bell(beyond, 0.0, 0.008) * lung
    if small:
        line *= look_up(np.clip((0.6 - depth) * 8, 0, 1).astype(np.float32), view.y_index)
    change = void * (np.float32(0.07 + 0.02 * person.habitus) - density)
    change += np.float32(0.2) * line
    mask, kept = apply_change(density, change * np.float32(strength))
    gone = 1 - void * kept * np.float32(strength)
    state.lung = state.lung * gone
    state.free = state.free * gone
    return mask


def _edema(view: Frontal, density: Array, vessel: Array, severe: bool, state: Aeration) -> Array:
    person, place = view.person, place_of(view, "pulmonary_edema")
    (rx, ry), (lx, ly) = hila(person)
    spread, tall = (0.125, 0.21) if severe else (0.12, 0.17)
    out = 0.075 if severe else 0.045
    haze = look_up(bell(AXIS, rx - out, spread) + bell(AXIS, lx + out, spread), view.x_index)
    haze = haze * look_up(bell(AXIS, 0.5 * (ry + ly) + 0.04, tall), view.y_index)
    texture = clouds(view.size, place[0], place[1])
    haze *= np.float32(1) + np.float32(0.22) * texture
    change = np.float32(0.29 if severe else 0.12) * haze
    change += np.float32(0.05 if severe else 0.09) * blur(vessel, 0.009)
    window, lines = _septal_lines(view, place)
    change[window] += np.float32(0.12 if severe else 0.1) * lines
    change *= state.lung
    mask, _ = apply_change(density, change)
    return mask


def _septal_lines(view: Frontal, place: Array) -> tuple[Window, Array]:
    """Kerley B: short level lines at the lateral bases."""
    person = view.person
    cage = cage_table(person)
    points = []
    for side in (-1, 1):
        for number in range(6):
            y = person.dome_right - 0.035 - 0.026 * number + 0.008 * (place[2 + number % 4] - 0.5)
            wall = table_at(cage, y) - 0.008
            reach = np.arange(wall - 0.03 - 0.03 * place[(number + side) % 8], wall, 0.006)
            points.append(np.stack([person.mid + side * reach, np.full(len(reach), y)], axis=1))
    return stroke(view.frame, view.size, np.concatenate(points), 0.0045)


def _consolidation(view: Frontal, density: Array, side: str, zone: str, strength: float, state: Aeration) -> Array:
    person, place = view.person, place_of(view, f"consolidation:{side}")
    sign = 1 if side == "left" else -1
    cy = ZONE_HEIGHT[zone] + 0.03 * (place[0] - 0.5)
    cx = person.mid + sign * (0.2 + 0.04 * (place[1] - 0.5))
    rx, ry = 0.105 + 0.02 * place[2], 0.085 + 0.015 * place[3]
    cloud = look_up(bell(AXIS, cx, rx), view.x_index) * look_up(bell(AXIS, cy, ry), view.y_index)
    cloud *= np.float32(1) + np.float32(0.2) * clouds(view.size, place[4], place[5])
    cloud = ramp(cloud - np.float32(0.4), 0.6)
    start = np.array([cx - sign * 0.075, cy + 0.02])
    ends = ((cx + sign * 0.06, cy + rise) for rise in (-0.045, 0.0, 0.04))
    tracks = [along(np.array([start, [cx, 0.5 * (cy + end[1])], end]), 0.007) for end in ends]
    # Fluid or air in front weakens the cloud, but never hides it: what is labelled can be seen.
    cloud *= view.cage * view.above * (np.float32(0.4) + np.float32(0.6) * state.free) * _on_side(view, side)
    window, air = stroke(view.frame, view.size, np.concatenate(tracks), 0.006)
    cloud[window] *= 1 - np.float32(0.3) * air
    change = cloud * np.maximum(np.float32(0.82) - density, 0) * np.float32(0.7 * strength)
    mask, _ = apply_change(density, change)
    return mask


def _nodule(view: Frontal, density: Array, side: str, zone: str, strength: float) -> Array:
    person, place = view.person, place_of(view, f"lung_nodule:{side}")
    sign = 1 if side == "left" else -1
    cy = ZONE_HEIGHT[zone] + 0.07 * (place[0] - 0.5)
    narrow = 0.03 if zone == "upper" else 0.0
    cx = person.mid + sign * (0.165 + 0.105 * place[1] - narrow)
    radius = (2.6 + 1.9 * place[2]) / 140
    return draw_disc(view, density, (cx, cy), radius, 0.36 * strength)


def draw_disc(
    view: Frontal | Lateral, density: Array, centre: tuple[float, float], radius: float, height: float
) -> Array:
    """A round shadow; returns its mask."""
    middle = view.frame.to_film(np.array([centre])) * view.size - 0.5
    window = window_around(middle, int(np.ceil((radius + 0.012) * view.size * view.frame.zoom)) + 2, view.size)
    u, v = view.x[window] - np.float32(centre[0]), view.y[window] - np.float32(centre[1])
    disc = ramp(np.float32(radius) - np.sqrt(u * u + v * v), 0.012)
    return apply_local(density, window, disc * np.float32(height))
