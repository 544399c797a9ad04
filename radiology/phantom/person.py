"""The person behind a phantom picture: the measures of one chest, the same at every visit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from radiology.phantom.canvas import AXIS, Array, bell, smooth_step
from radiology.phantom.factors import Nuisance


@dataclass(frozen=True)
class Person:
    """Measures in film widths; ``draws`` and ``places`` are the person's private random numbers in [0, 1)."""

    mid: float
    apex: float
    half_width: float
    dome_right: float
    dome_left: float
    heart_ratio: float
    carina: float
    rib_spacing: float
    rib_start: float
    rib_slope: float
    knob: float
    habitus: float
    female: bool
    supine: bool
    draws: Array
    places: Array
    vessel_seed: int

    @property
    def right_reach(self) -> float:
        """Distance from the midline to the right heart border without cardiomegaly."""
        return 0.36 * 2 * self.half_width * self.heart_ratio

    @property
    def left_reach(self) -> float:
        return 0.64 * 2 * self.half_width * self.heart_ratio


@lru_cache(maxsize=64)
def _private_draws(anatomy_seed: int) -> tuple[Array, Array, int]:
    rng = np.random.default_rng(anatomy_seed)
    return rng.random(48), rng.random((16, 8)), int(rng.integers(2**31))


def person_of(nuisance: Nuisance) -> Person:
    """The chest of ``nuisance.anatomy_seed``, seen PA or AP."""
    draws, places, vessel_seed = _private_draws(nuisance.anatomy_seed)
    spread = draws - 0.5
    supine = nuisance.view == "AP"
    female = nuisance.sex == "female"
    dome = (0.685 if supine else 0.745) + 0.035 * spread[0] - 0.02 * nuisance.habitus
    return Person(
        mid=0.5 + 0.008 * spread[1],
        apex=(0.125 if supine else 0.105) + 0.022 * spread[2],
        half_width=0.362 + 0.022 * spread[3] - (0.012 if female else 0.0),
        dome_right=dome,
        dome_left=dome + 0.022 + 0.016 * spread[4],
        heart_ratio=0.425 + 0.045 * spread[5] + (0.03 if supine else 0.0),
        carina=0.335 + 0.02 * spread[6],
        rib_spacing=0.071 + 0.006 * spread[7],
        rib_start=0.115 + 0.03 * spread[8],
        rib_slope=1 + 0.3 * spread[9],
        knob=0.024 + 0.012 * spread[10] + 0.00035 * (nuisance.age - 60),
        habitus=nuisance.habitus,
        female=female,
        supine=supine,
        draws=draws,
        places=places,
        vessel_seed=vessel_seed,
    )


# Contours of the frontal view: distance from the midline over patient y, or patient y over distance.


def cage_table(person: Person) -> Array:
    """Inner chest wall: distance from the midline over y; negative above the apex."""
    base = person.dome_right + 0.09
    depth = (AXIS - person.apex) / (base - person.apex)
    inside = np.clip(depth, 0, 1)
    start = 0.115
    reach = start + (person.half_width - start) * (1 - (1 - inside) ** 2.4) ** 0.52
    reach -= 0.014 * np.clip(inside - 0.82, 0, 1) / 0.18
    return np.where(depth < 0, np.float32(-1), reach).astype(np.float32)


def inner_table(person: Person) -> Array:
    """Medial edge of a lung: distance from the midline over y; it meets the cage at the apex."""
    depth = np.clip((AXIS - person.apex) / 0.09, 0, 1)
    return (0.042 + 0.073 * (1 - depth) ** 2.2).astype(np.float32)


def heart_tables(person: Person, extra: float) -> tuple[Array, Array]:
    """Right and left border of heart and great vessels over y. ``extra`` widens the cardiothoracic ratio."""
    widen = 2 * person.half_width * extra
    right, left = person.right_reach + 0.3 * widen, person.left_reach + 0.7 * widen
    top_right, low_right = person.dome_right - 0.28 - 0.06 * extra, person.dome_right - 0.1
    rise = smooth_step((AXIS - top_right) / (low_right - top_right))
    right_y = 0.047 + (right - 0.047) * rise - 0.022 * np.clip((AXIS - low_right) / 0.1, 0, 2) ** 2
    low_left = person.dome_left - 0.075
    top_left = 0.405 - 0.15 * extra
    rise = smooth_step((AXIS - top_left) / (low_left - top_left)) ** 0.9
    fall = np.sqrt(np.clip(1 - (np.clip(AXIS - low_left, 0, None) / 0.16) ** 2, 0, 1))
    left_y = 0.046 + (left - 0.046) * rise * fall
    left_y += person.knob * bell(AXIS, 0.305, 0.036) + 0.016 * bell(AXIS, 0.4, 0.042)
    widening = 0.02 * np.clip((0.2 - AXIS) / 0.1, 0, 1)
    return (right_y + widening).astype(np.float32), (left_y + widening).astype(np.float32)


def dome_table(person: Person) -> Array:
    """Height of the diaphragm over patient x (not distance): right dome for x below the midline."""
    offset = AXIS - np.float32(person.mid)
    distance = np.abs(offset)
    top = np.where(offset < 0, person.dome_right, person.dome_left)
    crest = 0.155 + 0.03 * (person.draws[11] - 0.5)
    lateral = np.clip((distance - crest) / (person.half_width - crest), 0, 1.3)
    medial = np.clip((crest - distance) / crest, 0, 1)
    return (top + 0.092 * lateral**2.3 + 0.022 * medial**2).astype(np.float32)


def body_table(person: Person) -> Array:
    """Skin: distance from the midline over y. Neck, shoulders, then chest wall (arms are cut by the film)."""
    neck = 0.1 + 0.022 * person.habitus + 0.018 * (not person.female)
    shoulder = smooth_step((AXIS - 0.015) / 0.16) ** 1.3
    trunk = person.half_width + 0.085 + 0.05 * person.habitus + 0.012 * (not person.female)
    axilla = smooth_step((AXIS - 0.3) / 0.26)
    return (neck + (0.62 - neck) * shoulder * (1 - axilla) + (trunk - neck) * axilla).astype(np.float32)
