"""The drawing board of the phantom: coordinates, soft edges, strokes and noise, in plain numpy.

Everything is drawn in *patient* coordinates: x grows to the viewer's right (the patient's left), y downwards, the film
is the unit square. A :class:`Frame` says how the patient lies on the film. Contours are tables over one patient
axis (:data:`AXIS`), looked up per pixel, so that a tilted patient costs no more than a straight one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Array = np.ndarray
#: Rows and columns of a part of the picture.
Window = tuple[slice, slice]

_LOW, _HIGH, _STEPS = -0.1, 1.1, 961
#: Patient coordinate of every entry of a contour table.
AXIS: Array = np.linspace(_LOW, _HIGH, _STEPS, dtype=np.float32)


@dataclass(frozen=True)
class Frame:
    """How the patient lies on the film: tilt in radians, magnification, shift in film widths."""

    tilt: float = 0.0
    zoom: float = 1.0
    dx: float = 0.0
    dy: float = 0.0

    def fields(self, size: int) -> tuple[Array, Array]:
        """Patient x and y of every pixel centre, each (size, size) float32."""
        row, col = pixel_centres(size)
        x, y = row - np.float32(0.5 + self.dx), col - np.float32(0.5 + self.dy)
        c, s = np.float32(np.cos(self.tilt) / self.zoom), np.float32(np.sin(self.tilt) / self.zoom)
        half = np.float32(0.5)
        return (c * x + half) + s * y, (c * y + half) - s * x

    def to_film(self, points_n2: Array) -> Array:
        """Film coordinates (n, 2) of patient points (n, 2)."""
        c, s = np.cos(self.tilt) * self.zoom, np.sin(self.tilt) * self.zoom
        x, y = points_n2[:, 0] - 0.5, points_n2[:, 1] - 0.5
        return np.stack([c * x - s * y + (0.5 + self.dx), s * x + c * y + (0.5 + self.dy)], axis=1)


@lru_cache(maxsize=8)
def pixel_centres(size: int) -> tuple[Array, Array]:
    """Film x (1, size) and y (size, 1) of the pixel centres."""
    centres = ((np.arange(size) + 0.5) / size).astype(np.float32)
    return centres[None, :], centres[:, None]


def table_index(field: Array) -> Array:
    """Where each value of a patient coordinate field sits in a contour table."""
    scale = np.float32((_STEPS - 1) / (_HIGH - _LOW))
    index = field * scale
    index += np.float32(0.5 - _LOW * float(scale))
    np.clip(index, 0, _STEPS - 1, out=index)
    return index.astype(np.intp)


def look_up(table: Array, index: Array) -> Array:
    """Contour values per pixel."""
    return np.take(table, index, mode="clip")


def table_at(table: Array, value: float) -> float:
    """One value of a contour table."""
    return float(np.interp(value, AXIS, table))


def ramp(distance: Array, width: float) -> Array:
    """0 outside, 1 inside, a straight edge of ``width`` around distance 0."""
    edge = distance * np.float32(1 / width)
    edge += np.float32(0.5)
    return clip01(edge)


def clip01(x: Array) -> Array:
    """Limit to [0, 1] in place; on small pictures the wrapper of ``np.clip`` costs as much as its work."""
    np.maximum(x, 0, out=x)
    return np.minimum(x, 1, out=x)


def smooth_step(x: Array) -> Array:
    """The cubic 0 → 1 step over x in [0, 1]."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def bell(x: Array, centre: float, width: float) -> Array:
    """Gaussian bump of height 1; cut off far out, because arithmetic with subnormal numbers is slow."""
    z = (x - np.float32(centre)) * np.float32(1 / width)
    z *= z
    return np.exp(-np.minimum(z, np.float32(40)))


def box_mean(image: Array) -> Array:
    """3 × 3 mean; the border repeats its own row or column."""
    rows = image.copy()
    rows[1:] += image[:-1]
    rows[:-1] += image[1:]
    rows[0] += image[0]
    rows[-1] += image[-1]
    out = rows.copy()
    out[:, 1:] += rows[:, :-1]
    out[:, :-1] += rows[:, 1:]
    out[:, 0] += rows[:, 0]
    out[:, -1] += rows[:, -1]
    out *= np.float32(1 / 9)
    return out


def blur(image: Array, sigma: float) -> Array:
    """Gaussian blur; ``sigma`` in film widths. Outside the film is zero."""
    size = image.shape[0]
    kernel = _kernel(round(sigma * size, 4))
    radius = len(kernel) // 2
    for axis in (0, 1):
        out = image * kernel[radius]
        for shift in range(1, radius + 1):
            weighted = image * kernel[radius + shift]
            if axis == 0:
                out[shift:] += weighted[:-shift]
                out[:-shift] += weighted[shift:]
            else:
                out[:, shift:] += weighted[:, :-shift]
                out[:, :-shift] += weighted[:, shift:]
        image = out
    return image


@lru_cache(maxsize=64)
def _kernel(sigma_px: float) -> Array:
    radius = max(1, int(2.2 * sigma_px + 0.5))
    x = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (x / max(sigma_px, 1e-3)) ** 2)
    return (kernel / kernel.sum()).astype(np.float32)


def _catmull_rom(count: int) -> Array:
    """Weights (count, 4) of four neighbouring knots for points between the middle two."""
    t = np.arange(count)[:, None] / count
    rows = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3]
    return 0.5 * np.concatenate(rows, axis=1)


_CATMULL_ROM = _catmull_rom(10)


def along(points_n2: Array, step: float) -> Array:
    """Points every ``step`` on the smooth curve through ``points_n2`` (Catmull-Rom)."""
    p = np.concatenate([2 * points_n2[:1] - points_n2[1:2], points_n2, 2 * points_n2[-1:] - points_n2[-2:-1]])
    windows = np.stack([p[:-3], p[1:-2], p[2:-1], p[3:]], axis=1)
    fine = np.concatenate([(_CATMULL_ROM @ windows).reshape(-1, 2), points_n2[-1:]])
    return evenly(fine, step)


def evenly(points_n2: Array, step: float) -> Array:
    """Points every ``step`` on the polyline through ``points_n2``."""
    lengths = np.zeros(len(points_n2))
    hops = points_n2[1:] - points_n2[:-1]
    np.cumsum(np.sqrt((hops * hops).sum(axis=1)), out=lengths[1:])
    count = max(2, int(np.ceil(lengths[-1] / step)) + 1)
    at = np.arange(count) * (lengths[-1] / (count - 1))
    out = np.empty((count, 2))
    out[:, 0] = np.interp(at, lengths, points_n2[:, 0])
    out[:, 1] = np.interp(at, lengths, points_n2[:, 1])
    return out


def window_around(film_n2: Array, margin: int, size: int) -> Window:
    """The part of the picture within ``margin`` pixels of some pixel positions (n, 2); at least one pixel."""
    low = np.floor(film_n2.min(axis=0)).astype(int) - margin
    high = np.ceil(film_n2.max(axis=0)).astype(int) + margin + 1
    left, top = (min(max(int(edge), 0), size - 1) for edge in low)
    right, bottom = (min(max(int(edge), 1), size) for edge in high)
    return slice(int(top), int(max(bottom, top + 1))), slice(int(left), int(max(right, left + 1)))


def stroke(frame: Frame, size: int, points_n2: Array, width: float, weight: float = 1.0) -> tuple[Window, Array]:
    """A line of Gaussian profile and height ``weight`` along evenly spaced patient points.

    ``width`` is the profile's standard deviation in film widths. A sum of Gaussians at even spacing is the profile of
    the line itself, so that crossings are the only place brighter than ``weight``; those are clipped at 1.
    Returns the part of the picture that the line lies in (with a margin), and the line there.
    """
    film = frame.to_film(points_n2) * size - 0.5
    hops = film[1:] - film[:-1]
    spacing = float(np.median(np.sqrt((hops * hops).sum(axis=1))))
    sigma = max(width * size * frame.zoom, 0.45)
    radius = int(np.ceil(2.1 * sigma - 0.5))
    film = film[((film > -radius - 1) & (film < size + radius)).all(axis=1)]
    if not len(film):
        return (slice(0, 1), slice(0, 1)), np.zeros((1, 1), dtype=np.float32)
    rows, cols = window_around(film, radius + 3, size)
    pad = 2 * radius + 2
    high, wide = rows.stop - rows.start + 2 * pad, cols.stop - cols.start + 2 * pad
    base = np.floor(film)
    reach = np.arange(-radius, radius + 2)
    spread = (film - base).astype(np.float32)[:, :, None] - reach.astype(np.float32)
    spread *= spread
    spread *= np.float32(-0.5 / sigma**2)
    np.exp(spread, out=spread)
    spread[:, 0] *= np.float32(weight * spacing / (np.sqrt(2 * np.pi) * sigma))
    values = spread[:, 1, :, None] * spread[:, 0, None, :]
    corner = ((base[:, 1] + (pad - rows.start)) * wide + base[:, 0] + (pad - cols.start)).astype(np.intp)
    flat = corner[:, None, None] + (reach[:, None] * wide + reach[None, :])
    image = np.bincount(flat.ravel(), weights=values.ravel(), minlength=high * wide)
    image = image.reshape(high, wide)[pad:-pad, pad:-pad].astype(np.float32)
    return (rows, cols), np.minimum(image, 1, out=image)


def dots(frame: Frame, size: int, points_n2: Array, weight_n: Array) -> Array:
    """Sum of points spread over the four nearest pixels; unit mass is one pixel at a film of 140."""
    film = frame.to_film(points_n2) * size - 0.5
    base = np.floor(film)
    part = film - base
    base = base.astype(np.intp)
    inside = (base >= 0).all(axis=1) & (base < size - 1).all(axis=1)
    weight = weight_n * inside * (size / 140) ** 2
    flat = np.where(inside, base[:, 1] * size + base[:, 0], 0)
    fx, fy = part[:, 0], part[:, 1]
    right, left = weight * fx, weight * (1 - fx)
    values = np.concatenate([left * (1 - fy), right * (1 - fy), left * fy, right * fy])
    index = np.concatenate([flat, flat + 1, flat + size, flat + size + 1])
    return np.bincount(index, weights=values, minlength=size * size).astype(np.float32).reshape(size, size)


@lru_cache(maxsize=4)
def _cloud_tile(size: int) -> Array:
    """Smooth noise, twice the film wide, mean 0 and deviation about 1; the same clouds at every size."""
    rng = np.random.default_rng(20240)
    total = np.zeros((2 * size, 2 * size), dtype=np.float32)
    for cells, gain in ((24, 0.7), (56, 0.6), (110, 0.35)):
        coarse = rng.standard_normal((cells + 2, cells + 2))
        at = (np.arange(2 * size) + 0.5) / (2 * size) * cells
        low = at.astype(int)
        part = smooth_step(at - low)
        rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
        total += (gain * (rows[:, low] * (1 - part) + rows[:, low + 1] * part)).astype(np.float32)
    return total / total.std()


def clouds(size: int, u: float, v: float) -> Array:
    """A (size, size) view of the cloud noise; ``u``, ``v`` in [0, 1) choose the place."""
    top, left = int(u * size), int(v * size)
    return _cloud_tile(size)[top : top + size, left : left + size]
