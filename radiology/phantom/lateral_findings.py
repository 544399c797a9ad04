"""Findings on the lateral view. Both lungs lie over each other: one-sided disease changes less than on the frontal."""

from __future__ import annotations

import numpy as np

from radiology.phantom.canvas import (
    AXIS,
    Array,
    along,
    bell,
    clouds,
    look_up,
    ramp,
    smooth_step,
    stroke,
    table_at,
    window_around,
)
from radiology.phantom.changes import apply_change, apply_local
from radiology.phantom.devices import METAL
from radiology.phantom.factors import FINDING_KEYS, Factors
from radiology.phantom.lateral import HILUM, Lateral, airway_table, dome_tables, front_table, lateral_heart
from radiology.phantom.lesions import HEART_EXTRA, SUBTLE, ZONE_HEIGHT, draw_disc
from radiology.phantom.person import Person

_STEP = 0.006


def draw_lateral_lesions(view: Lateral, density: Array, factors: Factors) -> dict[str, Array]:
    """Draw every disease of ``factors``; masks by finding key."""
    masks: dict[str, Array] = {}
    if factors.cardiomegaly:
        shape = lateral_heart(view, HEART_EXTRA[factors.cardiomegaly]) * view.chest * view.above
        masks["cardiomegaly"], _ = apply_change(density, shape * np.maximum(view.tissue - 0.05 - density, 0))
    for side in ("right", "left"):
        strengths = {
            name: SUBTLE + 0.08 if f"{name}_{side}" in factors.subtle else 1.0
            for name in ("effusion", "pneumothorax", "consolidation", "nodule")
        }
        size = getattr(factors, f"effusion_{side}")
        if size:
            change = _effusion(view, density, side, size) * np.float32(strengths["effusion"])
            masks[f"pleural_effusion:{side}"], _ = apply_change(density, change)
        size = getattr(factors, f"pneumothorax_{side}")
        if size:
            change = _pneumothorax(view, density, size) * np.float32(strengths["pneumothorax"])
            masks[f"pneumothorax:{side}"], _ = apply_change(density, change)
        zone = getattr(factors, f"consolidation_{side}")
        if zone:
            change = _consolidation(view, side, zone) * np.float32(strengths["consolidation"])
            masks[f"consolidation:{side}"], _ = apply_change(density, change)
        zone = getattr(factors, f"nodule_{side}")
        if zone:
            masks[f"lung_nodule:{side}"] = _nodule(view, density, side, zone, strengths["nodule"])
    if factors.edema:
        masks["pulmonary_edema"], _ = apply_change(density, _edema(view, factors.edema == "severe"))
    return masks


def _places(person: Person, key: str) -> Array:
    return person.places[FINDING_KEYS.index(key)]


def _effusion(view: Lateral, density: Array, side: str, size: str) -> Array:
    right, left = dome_tables(view.person)
    dome = left if side == "left" else right
    back = smooth_step((AXIS - 0.55) / 0.3)
    if size == "small":
        level = dome + 0.015 - 0.13 * back
    else:
        level = np.minimum(dome, table_at(dome, 0.38) + 0.02) - 0.14 - 0.06 * back
    amount = ramp(view.y - look_up(level.astype(np.float32), view.x_index), 0.035) * view.chest
    return amount * np.maximum(np.float32(0.62) - density, 0) * np.float32(0.72)


def _pneumothorax(view: Lateral, density: Array, size: str) -> Array:
    reach = 0.09 if size == "small" else 0.15
    front = view.x - look_up(front_table(), view.y_index)
    top = view.y - np.float32(view.person.apex - 0.02)
    front, top = np.maximum(front * np.float32(1.3), 1e-4), np.maximum(top, np.float32(1e-4))
    depth = np.float32(reach) - front * top / np.sqrt(front * front + top * top)
    lung = view.lung * ramp(np.float32(0.62) - view.y, 0.1)
    change = ramp(depth, 0.01) * lung * (np.float32(0.11) - density) * np.float32(0.55)
    change += np.float32(0.14) * lung * bell(depth, 0.0, 0.008)
    return change


def _consolidation(view: Lateral, side: str, zone: str) -> Array:
    place = _places(view.person, f"consolidation:{side}")
    cx = {"upper": 0.42, "mid": 0.47, "lower": 0.62}[zone] + 0.08 * (place[6] - 0.5)
    cy = ZONE_HEIGHT[zone] + 0.03 * (place[0] - 0.5)
    cloud = look_up(bell(AXIS, cx, 0.1), view.x_index) * look_up(bell(AXIS, cy, 0.085), view.y_index)
    cloud *= np.float32(1) + np.float32(0.2) * clouds(view.size, place[5], place[4])
    return ramp(cloud - np.float32(0.42), 0.62) * view.chest * view.above * np.float32(0.24)


def _nodule(view: Lateral, density: Array, side: str, zone: str, strength: float) -> Array:
    place = _places(view.person, f"lung_nodule:{side}")
    cx, cy = 0.4 + 0.22 * place[3], ZONE_HEIGHT[zone] + 0.07 * (place[0] - 0.5)
    return draw_disc(view, density, (cx, cy), (2.6 + 1.9 * place[2]) / 140, 0.28 * strength)


def _edema(view: Lateral, severe: bool) -> Array:
    place = _places(view.person, "pulmonary_edema")
    haze = look_up(bell(AXIS, HILUM[0], 0.19), view.x_index) * look_up(bell(AXIS, HILUM[1] + 0.05, 0.19), view.y_index)
    haze *= np.float32(1) + np.float32(0.25) * clouds(view.size, place[1], place[0])
    return haze * view.lung * np.float32(0.24 if severe else 0.11)


def draw_lateral_devices(view: Lateral, density: Array, factors: Factors) -> dict[str, Array]:
    """Draw every device of ``factors``; masks by finding key."""
    masks: dict[str, Array] = {}
    if factors.central_line:
        path = np.array([[0.36, -0.03], [0.4, 0.1], [0.43, 0.22], [0.44, 0.4]])
        masks["central_line"] = _line(view, density, path, 0.005, 0.2)
    if factors.endotracheal_tube:
        tip = view.person.carina - 0.055
        path = np.array([[table_at(airway_table(view.person), y), y] for y in (0.0, 0.15, tip)])
        masks["endotracheal_tube"] = _line(view, density, path, 0.008, 0.26)
    if factors.nasogastric_tube:
        mask = _line(view, density, _gastric_path(view.person, factors.nasogastric_tube == "placed"), 0.006, 0.26)
        masks["nasogastric_tube"] = mask
        if factors.nasogastric_tube == "misplaced":
            masks["nasogastric_tube:misplaced"] = mask
    if factors.sternotomy_wires:
        masks["sternotomy_wires"] = _wires(view, density)
    if factors.pacemaker:
        masks["pacemaker"] = _pacemaker(view, density)
    return masks


def _line(view: Lateral, density: Array, path: Array, width: float, height: float) -> Array:
    return apply_local(density, *stroke(view.frame, view.size, along(path, _STEP), width, height))


def _gastric_path(person: Person, placed: bool) -> Array:
    airway, carina, dome = airway_table(person), person.carina, person.dome_left
    behind = [[table_at(airway, y) + 0.035, y] for y in (-0.03, 0.12, carina)]
    if placed:
        return np.array(
            [*behind, [0.57, 0.5], [0.53, dome + 0.01], [0.46, dome + 0.08], [0.37, dome + 0.1], [0.31, dome + 0.07]]
        )
    place = _places(person, "nasogastric_tube:misplaced")
    if place[0] < 0.6:
        inside = [[table_at(airway, y) + 0.008, y] for y in (-0.03, 0.12, carina)]
        return np.array([*inside, [0.56, carina + 0.1], [0.63, 0.6 + 0.05 * place[1]]])
    x, y = 0.56, carina + 0.055 + 0.04 * place[1]
    turn = np.linspace(0, 2.6 * np.pi, 15)[1:]
    coil = np.stack([x - 0.03 + 0.03 * np.cos(turn), y + 0.045 * np.sin(turn)], axis=1)
    return np.concatenate([np.array([*behind[:2], [x, y - 0.05], [x, y]]), coil])


def _wires(view: Lateral, density: Array) -> Array:
    turn = np.linspace(0, 2 * np.pi, 11)
    loops = []
    for y in 0.25 + 0.06 * np.arange(6):
        x = table_at(front_table(), y) - 0.015
        loops.append(np.stack([x + 0.012 * np.cos(turn), y + 0.006 * np.sin(turn)], axis=1))
    window, trace = stroke(view.frame, view.size, np.concatenate(loops), 0.0042, 0.85)
    return apply_local(density, window, trace * np.maximum(np.float32(METAL) - density[window], 0))


def _pacemaker(view: Lateral, density: Array) -> Array:
    bx, by = 0.245, 0.235 + 0.03 * _places(view.person, "pacemaker")[1]
    tip = [0.29, view.person.dome_left - 0.09]
    lead = np.array([[bx, by - 0.04], [0.33, 0.16], [0.43, 0.26], [0.45, 0.45], [0.4, 0.6], tip])
    window, trace = stroke(view.frame, view.size, along(lead, _STEP), 0.0045, 0.62)
    mask = apply_local(density, window, trace * np.maximum(np.float32(METAL) - density[window], 0))
    middle = view.frame.to_film(np.array([[bx, by]])) * view.size - 0.5
    window = window_around(middle, int(0.08 * view.size), view.size)
    x, y = view.x[window] - np.float32(bx), view.y[window] - np.float32(by)
    can = np.maximum(np.abs(x + np.float32(0.2) * y) - np.float32(0.016), np.abs(y) - np.float32(0.042))
    change = ramp(-can, 0.008) * np.float32(0.94) * np.maximum(np.float32(METAL) - density[window], 0)
    return mask | apply_local(density, window, change)
