"""From grey values to the square that an image encoder sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from radiology.errors import InputError

_EDGES = ("height", "width", "shortest_edge", "longest_edge")
_ANY_SIZE = 10_000


def stretch(grey_hw: np.ndarray) -> np.ndarray:
    """Grey values brought to 0 … 255 by the image's own minimum and maximum, float32; a constant image becomes zero."""
    low, high = float(grey_hw.min()), float(grey_hw.max())
    return (grey_hw.astype(np.float32) - low) * np.float32(255.0 / (high - low) if high > low else 0.0)


def eight_bit(grey_hw: np.ndarray) -> np.ndarray:
    """An image as uint8 for processors that expect pictures: uint8 as it is, uint16 stretched.

    Pillow's own conversion of 16-bit images to 8 bits cuts everything above 255 off.
    """
    return grey_hw if grey_hw.dtype == np.uint8 else np.clip(np.rint(stretch(grey_hw)), 0, 255).astype(np.uint8)


def square(scaled_hw: np.ndarray, size: int) -> np.ndarray:
    """Shortest edge to ``size`` (bicubic), then the centre crop: values in 0 … 255 → (size, size) uint8."""
    height, width = scaled_hw.shape
    if (height, width) != (size, size):
        factor = size / min(height, width)
        shape = (max(size, round(width * factor)), max(size, round(height * factor)))
        scaled_hw = np.asarray(Image.fromarray(scaled_hw.astype(np.float32)).resize(shape, Image.Resampling.BICUBIC))
        top, left = (scaled_hw.shape[0] - size) // 2, (scaled_hw.shape[1] - size) // 2
        scaled_hw = scaled_hw[top : top + size, left : left + size]
    return np.clip(np.rint(scaled_hw), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Crop:
    """What a checkpoint's image processor sees of an image that is handed over as a square.

    Attributes:
        side: the image's shortest edge is brought to this, then its centre square is taken.
        seen: side of the centre of that square which the encoder gets; the rest is cut off by the processor.
    """

    side: int
    seen: int

    def picture(self, grey_hw: np.ndarray) -> Image.Image:
        """The square that goes to the processor: stretched to 8 bit by the image's own range, grey as RGB."""
        return Image.fromarray(square(stretch(grey_hw), self.side)).convert("RGB")

    def preview(self, grey_hw: np.ndarray, size: int) -> np.ndarray:
        """What the encoder gets of an image, (size, size) uint8 grey."""
        side = max(size, round(size * self.side / self.seen))
        start = (side - size) // 2
        return square(stretch(grey_hw), side)[start : start + size, start : start + size]


def crop_of(image_processor: Any, default: int) -> Crop:
    """The square that an image processor of transformers wants, so that it has nothing to resize.

    Args:
        image_processor: its ``size`` is the shortest edge, or height and width; ``crop_size`` what it keeps of that.
        default: side for a processor that takes images of any size.

    Raises:
        InputError: it keeps more than it is given, or no square.
    """
    side = default
    if getattr(image_processor, "do_resize", True):
        side = _side(getattr(image_processor, "size", None), "size") or default
    seen = side
    if getattr(image_processor, "do_center_crop", False):
        seen = _side(getattr(image_processor, "crop_size", None), "crop_size") or side
    if seen > side:
        raise InputError(f"image processor: its crop of {seen} pixels is larger than its size of {side}")
    return Crop(side, seen)


def _side(size: Any, field: str) -> int | None:
    """The edge of a square that a size setting means: ``224``, ``{"shortest_edge": 224}``, ``{"height": …}``."""
    if isinstance(size, int):
        return size
    edges = {name: size[name] for name in _EDGES if size is not None and name in size and size[name]}
    if "height" in edges and edges["height"] != edges.get("width"):
        raise InputError(f"image processor: {field} {edges} is no square; radiographs are handed over as squares")
    side = edges.get("height") or edges.get("shortest_edge") or edges.get("longest_edge")
    # processors of images of any size put numbers of pixels here
    return int(side) if side is not None and edges.get("longest_edge", 0) < _ANY_SIZE else None
