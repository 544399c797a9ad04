"""The two views of a phantom chest, with a truth mask for every finding that is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiology.errors import InputError
from radiology.phantom.canvas import Array, look_up, ramp
from radiology.phantom.devices import draw_devices
from radiology.phantom.factors import FINDING_KEYS, Factors, Nuisance
from radiology.phantom.film import expose, film_rng, frame_of
from radiology.phantom.frontal import bones, hilar_shadow, lay_out, soft_parts
from radiology.phantom.lateral import lateral_body, lateral_bones, lateral_soft_parts, lay_out_lateral
from radiology.phantom.lateral_findings import draw_lateral_devices, draw_lateral_lesions
from radiology.phantom.lesions import draw_lesions
from radiology.phantom.person import body_table, person_of
from radiology.phantom.vessels import vessels

DEFAULT_SIZE = 140
_FRONTAL, _LATERAL = 1, 2


@dataclass(frozen=True)
class Rendered:
    """``image`` (size, size) uint8; ``masks`` (size, size) bool by the finding keys that are present."""

    image: Array
    masks: dict[str, Array]


def render_frontal(factors: Factors, nuisance: Nuisance, size: int = DEFAULT_SIZE) -> Rendered:
    """The frontal view; the patient's left is on the viewer's right. Deterministic in its arguments."""
    _check_size(size)
    rng = film_rng(nuisance, _FRONTAL)
    view = lay_out(person_of(nuisance), frame_of(nuisance, rng), size)
    density = soft_parts(view)
    vessel = vessels(view.person, view.frame, size)
    seen = view.lung * np.float32(0.85) + np.float32(0.15) * view.cage
    density += np.float32(0.175) * seen * vessel
    density += np.float32(0.14) * seen * hilar_shadow(view)
    masks = draw_lesions(view, density, vessel, factors)
    density += bones(view)
    masks.update(draw_devices(view, density, factors))
    body = ramp(look_up(body_table(view.person), view.y_index) - view.distance, 0.016)
    return Rendered(expose(density, body, nuisance, rng), _in_order(masks))


def render_lateral(factors: Factors, nuisance: Nuisance, size: int = DEFAULT_SIZE) -> Rendered:
    """The lateral view; the patient looks to the viewer's left. Deterministic in its arguments."""
    _check_size(size)
    rng = film_rng(nuisance, _LATERAL)
    view = lay_out_lateral(person_of(nuisance), frame_of(nuisance, rng), size)
    density = lateral_soft_parts(view)
    masks = draw_lateral_lesions(view, density, factors)
    density += lateral_bones(view)
    masks.update(draw_lateral_devices(view, density, factors))
    return Rendered(expose(density, lateral_body(view), nuisance, rng), _in_order(masks))


def _check_size(size: int) -> None:
    if size < 56:
        raise InputError(f"phantom picture size {size}: must be at least 56 pixels")


def _in_order(masks: dict[str, Array]) -> dict[str, Array]:
    return {key: masks[key] for key in FINDING_KEYS if key in masks}
