"""Devices on the frontal view: tubes, lines, wires, a pacemaker. Paths are patient points."""

from __future__ import annotations

import numpy as np

from radiology.phantom.canvas import Array, along, ramp, stroke, window_around
from radiology.phantom.changes import apply_local
from radiology.phantom.factors import FINDING_KEYS, Factors
from radiology.phantom.frontal import Frontal
from radiology.phantom.person import Person

METAL = 0.97
_STEP = 0.006


def draw_devices(view: Frontal, density: Array, factors: Factors) -> dict[str, Array]:
    """Draw every device of ``factors``; masks by finding key."""
    masks: dict[str, Array] = {}
    if factors.central_line:
        masks["central_line"] = _line(view, density, central_line_path(view.person), 0.0052, 0.32, 0.08)
    if factors.endotracheal_tube:
        masks["endotracheal_tube"] = _endotracheal_tube(view, density)
    if factors.nasogastric_tube:
        path = gastric_path(view.person) if factors.nasogastric_tube == "placed" else misplaced_path(view.person)
        mask = _line(view, density, path, 0.0054, 0.28, 0.15)
        masks["nasogastric_tube"] = mask
        if factors.nasogastric_tube == "misplaced":
            masks["nasogastric_tube:misplaced"] = mask
    if factors.sternotomy_wires:
        masks["sternotomy_wires"] = _wires(view, density)
    if factors.pacemaker:
        masks["pacemaker"] = _pacemaker(view, density)
    return masks


def _places(person: Person, key: str) -> Array:
    return person.places[FINDING_KEYS.index(key)]


def _line(view: Frontal, density: Array, path: Array, width: float, height: float, more_in_lung: float) -> Array:
    """A radiopaque line; it stands out a little more over dark lung."""
    window, trace = stroke(view.frame, view.size, along(path, _STEP), width)
    return apply_local(density, window, trace * (np.float32(height) + np.float32(more_in_lung) * view.lung[window]))


def central_line_path(person: Person) -> Array:
    """From the right side of the neck into the superior vena cava."""
    place = _places(person, "central_line")
    tip = 0.41 + 0.04 * place[0]
    m = person.mid
    return np.array(
        [
            [m - 0.135 - 0.03 * place[1], -0.03],
            [m - 0.105, 0.055],
            [m - 0.075, 0.14],
            [m - 0.052, 0.21],
            [m - 0.05, 0.3],
            [m - 0.046, tip],
        ]
    )


def gastric_path(person: Person) -> Array:
    """Down the oesophagus, through the diaphragm, to the left in the stomach."""
    place = _places(person, "nasogastric_tube")
    m, dome = person.mid + 0.014, person.dome_left
    bend = 0.02 * place[0]
    return np.array(
        [
            [m + 0.004, -0.03],
            [m, 0.15],
            [m + 0.006, 0.35],
            [m + 0.016, 0.55],
            [m + 0.026, dome],
            [m + 0.055, dome + 0.07],
            [m + 0.115, dome + 0.115 + bend],
            [m + 0.175, dome + 0.1 + bend],
            [m + 0.205, dome + 0.06 + bend],
        ]
    )


def misplaced_path(person: Person) -> Array:
    """Into the right lower lobe, or coiled in the oesophagus at the height of the carina."""
    place = _places(person, "nasogastric_tube:misplaced")
    m, carina = person.mid, person.carina
    if place[0] < 0.6:
        deep = 0.6 + 0.05 * place[1]
        return np.array(
            [
                [m + 0.012, -0.03],
                [m - 0.002, 0.15],
                [m - 0.008, carina - 0.01],
                [m - 0.05, carina + 0.055],
                [m - 0.1, carina + 0.125],
                [m - 0.145, 0.5 * (carina + 0.14 + deep)],
                [m - 0.175 - 0.03 * place[2], deep],
            ]
        )
    x, y, r = m + 0.02, carina + 0.055 + 0.04 * place[1], 0.042 + 0.008 * place[2]
    turn = np.linspace(0, 2.6 * np.pi, 15)[1:]
    coil = np.stack([x - r + r * np.cos(turn), y + 1.15 * r * np.sin(turn)], axis=1)
    return np.concatenate([np.array([[m + 0.014, -0.03], [m + 0.014, 0.13], [x, y - 0.06], [x, y]]), coil])


def _endotracheal_tube(view: Frontal, density: Array) -> Array:
    """Two walls with a dark lumen, ending above the carina."""
    person = view.person
    place = _places(person, "endotracheal_tube")
    tip = person.carina - 0.055 - 0.035 * place[0]
    m = person.mid - 0.01
    path = np.array([[m + 0.006 * (place[1] - 0.5), -0.03], [m, 0.12], [m, tip]])
    points = along(path, _STEP)
    beside = np.array([[0.0115, 0.0]])
    walls = np.concatenate([points - beside, points + beside])
    return apply_local(density, *stroke(view.frame, view.size, walls, 0.0045, 0.3))


def _wires(view: Frontal, density: Array) -> Array:
    """A column of twisted loops over the midline."""
    person = view.person
    place = _places(person, "sternotomy_wires")
    turn = np.linspace(0, 2 * np.pi, 15)
    loops = []
    for number in range(6):
        y = 0.245 + 0.012 * place[0] + 0.073 * number
        x = person.mid + 0.012 * (place[1 + number] - 0.5)
        lean = 0.5 * (place[(number + 3) % 8] - 0.5)
        u, v = 0.0235 * np.cos(turn), 0.014 * np.sin(turn)
        loops.append(np.stack([x + u - lean * v, y + v + lean * u], axis=1))
        loops.append(np.stack([np.full(3, x), y + 0.014 + np.linspace(0, 0.01, 3)], axis=1))
    window, trace = stroke(view.frame, view.size, np.concatenate(loops), 0.0037, 0.85)
    return apply_local(density, window, trace * np.maximum(np.float32(METAL) - density[window], 0))


def _pacemaker(view: Frontal, density: Array) -> Array:
    """Generator below the left clavicle, leads through the subclavian vein into the right heart."""
    person = view.person
    place = _places(person, "pacemaker")
    m = person.mid
    bx, by = m + 0.235 + 0.035 * place[0], 0.25 + 0.03 * place[1]
    entry = [
        [bx - 0.02, by - 0.035],
        [bx - 0.055, by - 0.075],
        [m + 0.12, 0.175],
        [m + 0.03, 0.215],
        [m - 0.035, 0.275],
    ]
    apex = [
        [m - 0.05, 0.4],
        [m - 0.055, 0.53],
        [m - 0.01, person.dome_right - 0.045],
        [m + 0.095, person.dome_left - 0.06],
    ]
    leads = [along(np.array(entry + apex), _STEP)]
    if place[3] < 0.5:
        leads.append(
            along(np.array([[m - 0.035, 0.275], [m - 0.042, 0.42], [m - 0.062, 0.5], [m - 0.085, 0.47]]), _STEP)
        )
    window, trace = stroke(view.frame, view.size, np.concatenate(leads), 0.0045, 0.62)
    mask = apply_local(density, window, trace * np.maximum(np.float32(METAL) - density[window], 0))
    return mask | _generator(view, density, bx, by, 0.5 * (place[2] - 0.5))


def _generator(view: Frontal, density: Array, bx: float, by: float, tilt: float) -> Array:
    """The can: a rounded box, a little less dense where the battery is not."""
    middle = view.frame.to_film(np.array([[bx, by]])) * view.size - 0.5
    window = window_around(middle, int(0.09 * view.size), view.size)
    c, s = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    x, y = view.x[window] - np.float32(bx), view.y[window] - np.float32(by)
    u, v = np.abs(c * x + s * y), np.abs(c * y - s * x)
    box = np.maximum(u - np.float32(0.046), v - np.float32(0.036))
    corner = np.float32(0.72) * (u + v) - np.float32(0.048)
    body = ramp(-np.maximum(box, corner), 0.008)
    inner = ramp(np.float32(0.02) - np.maximum(u, np.abs(c * y - s * x - np.float32(0.008))), 0.01)
    amount = body * (np.float32(0.94) - np.float32(0.16) * inner)
    return apply_local(density, window, amount * np.maximum(np.float32(METAL) - density[window], 0))
