"""From density to film: tone curve of the scanner, exposure, noise, collimation, side marker."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from radiology.phantom.canvas import Array, Frame, blur, box_mean, pixel_centres, ramp
from radiology.phantom.factors import Nuisance

_LEVELS = 1023
#: Black point, white point, gamma, noise gain, blur in film widths, by scanner.
_SCANNERS = {
    "A": (0.06, 0.93, 1.15, 1.0, 0.0, 0.0),
    "B": (0.0, 1.06, 0.98, 0.8, 0.0035, 0.1),
    "C": (0.05, 0.92, 0.8, 1.35, 0.0, 0.05),
}
_GLYPHS = {
    "L": ("X....", "X....", "X....", "X....", "X....", "X....", "XXXXX"),
    "R": ("XXXX.", "X...X", "X...X", "XXXX.", "X.X..", "X..X.", "X...X"),
}


def film_rng(nuisance: Nuisance, kind: int) -> np.random.Generator:
    """The chance of one exposure: depends on how the picture is taken, never on what is in the chest."""
    settings = (nuisance.rotation + 10, nuisance.exposure + 10, nuisance.noise + 10)
    return np.random.default_rng([nuisance.anatomy_seed, kind, *(int(value * 1e6) for value in settings)])


def frame_of(nuisance: Nuisance, rng: np.random.Generator) -> Frame:
    """How the patient lies on this film."""
    shift = rng.random(3) - 0.5
    zoom = (1.0 if nuisance.view == "PA" else 1.03) + 0.05 * shift[0]
    return Frame(float(np.radians(nuisance.rotation)), float(zoom), float(0.03 * shift[1]), float(0.03 * shift[2]))


def expose(density: Array, body: Array, nuisance: Nuisance, rng: np.random.Generator) -> Array:
    """The picture (size, size) uint8 of a density field and the body outline (1 inside)."""
    size = density.shape[0]
    black, white, gamma, grain, softness, veil = _SCANNERS[nuisance.source]
    density = density * body
    density += np.float32(0.02 * (1 if nuisance.source == "A" else 3)) * (1 - body)
    if softness:
        density = blur(density, softness)
    level = density * np.float32(_LEVELS)
    np.clip(level, 0, _LEVELS, out=level)
    picture = np.take(_tone(black, white, gamma, veil, round(nuisance.exposure, 3)), level.astype(np.intp), mode="clip")
    draw = rng.random(11)
    noise = _grain(size, nuisance.source == "C", draw[8:])
    picture += noise * np.float32((1.2 + 4.2 * nuisance.noise) * grain)
    if nuisance.source != "A":
        _collimate(picture, nuisance.source, draw[:5])
    if nuisance.marker:
        _mark(picture, nuisance.source, draw[5:8])
    np.clip(picture, 0, 255, out=picture)
    return picture.astype(np.uint8)


@lru_cache(maxsize=8)
def _grain_pool(size: int, coarse: bool) -> Array:
    """White or clumped noise of deviation about 1, three films wide and high."""
    noise = np.random.default_rng(9173).standard_normal((3 * size, 3 * size), dtype=np.float32)
    return box_mean(noise) * np.float32(2) if coarse else noise


def _grain(size: int, coarse: bool, draw: Array) -> Array:
    """Noise of one film: a random window of the pool, mirrored or not."""
    top, left, turn = int(draw[0] * 2 * size), int(draw[1] * 2 * size), int(draw[2] * 4)
    window = _grain_pool(size, coarse)[top : top + size, left : left + size]
    return window[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]


@lru_cache(maxsize=512)
def _tone(black: float, white: float, gamma: float, veil: float, exposure: float) -> Array:
    """Grey value over density; more exposure is darker."""
    level = np.linspace(0, 1, _LEVELS + 1)
    level = np.clip((level - black) / (white - black), 0, 1) ** (gamma * (1 + 0.28 * exposure))
    return (255 * (veil + (1 - veil) * level)).astype(np.float32)


def _collimate(picture: Array, source: str, draw: Array) -> None:
    """Unexposed edges: the shutters of a bedside film stand a little askew."""
    size = picture.shape[0]
    row, col = pixel_centres(size)
    tilt = np.float32(0.05 * (draw[0] - 0.5))
    deep = 0.035 if source == "C" else 0.022
    shade = np.float32(6 if source == "C" else 235)
    rim = int(0.08 * size)
    for window, distance in (
        ((slice(None), slice(None, rim)), row[:, :rim] - np.float32(deep * draw[1]) - tilt * col),
        ((slice(None), slice(-rim, None)), 1 - row[:, -rim:] - np.float32(deep * draw[2]) + tilt * col),
        ((slice(None, rim), slice(None)), col[:rim] - np.float32(0.6 * deep * draw[3]) + tilt * row),
    ):
        picture[window] += (1 - ramp(distance, 0.008)) * (shade - picture[window])


def _mark(picture: Array, source: str, draw: Array) -> None:
    """The letter of a side: L on the viewer's right, R on the viewer's left."""
    size = picture.shape[0]
    letter = "L" if draw[0] < 0.7 else "R"
    glyph = np.array([[c == "X" for c in line] for line in _GLYPHS[letter]], dtype=np.float32)
    scale = max(1, round(size / 140))
    glyph = np.kron(glyph, np.ones((scale, scale), dtype=np.float32))
    height, width = glyph.shape
    left = round((0.905 + 0.02 * draw[1]) * size) if letter == "L" else round((0.06 - 0.02 * draw[1]) * size)
    left = min(left, size - width)  # on the smallest films the letter is wide for its place
    top = round((0.33 + 0.25 * draw[2]) * size)
    if source == "C":
        pad = 2 * scale
        patch = picture[top - pad : top + height + pad, left - pad : left + width + pad]
        patch += 0.7 * (105 - patch)
    patch = picture[top : top + height, left : left + width]
    patch += glyph * (242 - patch)
