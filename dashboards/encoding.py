"""From Python values to what stands in the page: compact JSON, gzip, base64, quantised maps, WebP pictures."""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

_SIGNIFICANT_DIGITS = 5


def compact(value: Any) -> Any:
    """JSON form: numpy values as Python's, floats at five significant digits, NaN and infinity as None."""
    kind = type(value)  # plain values first: pages hold tens of thousands of them
    if kind is float:
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is list:
        return [compact(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): compact(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return compact(value.tolist())
    if isinstance(value, str | int):
        return value
    if isinstance(value, Sequence | set | frozenset):
        return [compact(item) for item in value]
    return compact(float(value))


def pack(value: Any) -> str:
    """Compact JSON, gzip-compressed, in base64; the alphabet holds nothing that HTML could read as markup."""
    text = json.dumps(compact(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return pack_text(text)


def pack_text(text: str) -> str:
    """Gzip-compressed UTF-8 in base64; equal texts give equal bytes."""
    return base64.b64encode(gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0)).decode("ascii")


def pack_map(values: Any, rows: int | None, cols: int | None) -> dict[str, Any] | None:
    """A (rows · cols,) activation map as bytes of its share of its maximum; None where there is none."""
    if values is None or not rows or not cols:
        return None
    map_n = np.nan_to_num(np.asarray(values, dtype=np.float32).reshape(-1))
    if len(map_n) != rows * cols:
        return None
    top = float(map_n.max(initial=0.0))
    bytes_n = np.round(np.clip(map_n / (top or 1.0), 0, 1) * 255).astype(np.uint8)
    data = base64.b64encode(bytes_n.tobytes()).decode("ascii")
    return {"rows": int(rows), "cols": int(cols), "max": top, "data": data}


def picture(png: bytes, side: int, quality: int) -> str | None:
    """A preview (PNG bytes) as grey WebP of at most ``side`` pixels, in base64; None if it is no picture."""
    try:
        with Image.open(io.BytesIO(png)) as image:
            grey = image.convert("L")
    except (UnidentifiedImageError, OSError):
        return None
    if max(grey.size) > side:
        grey.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _webp(grey, quality)


def mean_picture(pngs: Sequence[bytes], side: int, quality: int) -> tuple[str | None, int]:
    """The mean of square previews as base64 WebP of ``side`` pixels, and how many could be read; None for none."""
    total_hw, n = np.zeros((side, side), dtype=np.float64), 0
    for png in pngs:
        try:
            with Image.open(io.BytesIO(png)) as image:
                total_hw += np.asarray(image.convert("L").resize((side, side), Image.Resampling.BILINEAR))
        except (UnidentifiedImageError, OSError):
            continue  # counted where the single pictures are encoded
        n += 1
    return (_webp(Image.fromarray((total_hw / n).astype(np.uint8)), quality) if n else None), n


def _webp(grey: Image.Image, quality: int) -> str:
    stream = io.BytesIO()
    grey.save(stream, "WEBP", quality=quality, method=4)
    return base64.b64encode(stream.getvalue()).decode("ascii")
