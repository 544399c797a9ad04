"""The branching vessels of the lungs, as the frontal view shows them: grown once per person from the hila."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from radiology.phantom.canvas import Array, Frame, blur, dots
from radiology.phantom.person import Person

#: Right and left hilum of a person whose midline is the middle of the film.
_HILA = ((0.412, 0.435), (0.588, 0.415))


def hila(person: Person) -> tuple[tuple[float, float], tuple[float, float]]:
    """Patient points of the right and the left hilum."""
    shift = person.mid - 0.5
    return (_HILA[0][0] + shift, _HILA[0][1]), (_HILA[1][0] + shift, _HILA[1][1])


def vessels(person: Person, frame: Frame, size: int) -> Array:
    """Branching lung vessels from both hila, height about 1 near the hilum; to be weighted by the lung."""
    return blur(dots(frame, size, *_vessel_tree(person.vessel_seed)), 0.6 / 140)


@lru_cache(maxsize=64)
def _vessel_tree(seed: int) -> tuple[Array, Array]:
    """Points (n, 2) and their weight; a trunk is three strands wide at its root."""
    rng = np.random.default_rng(seed)
    parts = []
    for side, hilum in zip((-1, 1), _HILA, strict=True):
        angle = np.linspace(-78, 78, 11) + rng.uniform(-6, 6, 11)
        length = 0.2 + 0.08 * np.cos(np.radians(angle - 35)) + rng.uniform(-0.02, 0.04, 11)
        start = np.tile(np.asarray(hilum), (11, 1)) + rng.uniform(-0.012, 0.012, (11, 2))
        trunk = _branches(start, angle, length, rng.uniform(-28, 28, 11), side, 34)
        t = np.linspace(0, 1, 34)
        root = np.clip(0.2 + 4 * t, 0, 1)
        parts.append((trunk.reshape(-1, 2), np.tile((0.85 - 0.55 * t) * root, 11)))
        along_it = np.gradient(trunk[:, :20], axis=1)
        across = along_it[..., ::-1] * (1, -1) / np.linalg.norm(along_it, axis=2, keepdims=True)
        for strand in (-0.0105, 0.0105):
            beside = trunk[:, :20] + across * (strand * (1 - 0.9 * t[:20]))[None, :, None]
            parts.append((beside.reshape(-1, 2), np.tile(0.85 * (1 - t[:20]) ** 2 * root[:20], 11)))
        pick, at = rng.integers(0, 11, 44), rng.integers(6, 28, 44)
        turn = rng.choice([-1, 1], 44) * rng.uniform(18, 48, 44)
        twig = _branches(trunk[pick, at], angle[pick] + turn, rng.uniform(0.05, 0.13, 44), turn * -0.4, side, 16)
        t = np.linspace(0, 1, 16)
        parts.append((twig.reshape(-1, 2), np.tile(0.42 * (1 - 0.7 * t), 44)))
    points, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return points, weights


def _branches(start: Array, angle: Array, length: Array, bend: Array, side: int, count: int) -> Array:
    """Bent lines (branches, count, 2); angle 0 points sideways, positive downwards, in degrees."""
    t = np.linspace(0, 1, count)[None, :]
    heading = np.radians(angle[:, None] + bend[:, None] * t)
    step = length[:, None] / count
    x = np.cumsum(np.cos(heading) * step, axis=1) * side
    y = np.cumsum(np.sin(heading) * step, axis=1)
    return np.stack([start[:, :1] + x, start[:, 1:] + y], axis=2)
