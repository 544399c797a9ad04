"""The pictures of contexts for a model that sees: the whole image under a heat map, and the patch at the peak."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from radiology.errors import InputError

#: Largest side of a picture that is shown, in pixels.
SIDE = 336
#: A crop shows the patch at the peak and as many patches around it.
_AROUND = 1
#: How much of the colour is heat where a feature fires most.
_MOST_HEAT = 0.6


class StudyPictures:
    """Previews of a run's study index.

    Args:
        run_dir: the run directory.

    Raises:
        InputError: the run keeps no previews.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self._path = Path(run_dir) / "studies.parquet"
        names = pq.read_schema(self._path).names
        self._columns = {name.removeprefix("preview_"): name for name in names if name.startswith("preview_")}
        if not self._columns:
            raise InputError(f"{run_dir}: the run keeps no previews of its images, so that nothing could be shown")
        self._known: dict[int, dict[str, bytes | None]] = {}

    def of(self, study: int, image: str) -> Image.Image | None:
        """A picture in grey, at most :data:`SIDE` pixels; ``None`` if the run does not keep it."""
        if image not in self._columns:
            return None
        if study not in self._known:
            columns = list(self._columns.values())
            table = pq.read_table(self._path, columns=columns, filters=[("study", "=", study)])
            self._known[study] = table.to_pylist()[0]
        data = self._known[study][self._columns[image]]
        if not data:
            return None
        picture = Image.open(io.BytesIO(data)).convert("L")
        scale = SIDE / max(picture.size)
        return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)


def heat_map(picture: Image.Image, map_p: np.ndarray, rows: int, columns: int, strongest: float) -> Image.Image:
    """The picture with the activations of its patches in red.

    Args:
        map_p: (rows · columns,) activations, row by row.
        strongest: activation of full heat.
    """
    share = np.clip(np.asarray(map_p, dtype=np.float64).reshape(rows, columns) / max(strongest, 1e-9), 0, 1)
    heat = Image.fromarray((share * 255).astype(np.uint8)).resize(picture.size, Image.Resampling.BILINEAR)
    alpha = np.asarray(heat, dtype=np.float64)[..., None] / 255 * _MOST_HEAT
    grey = np.repeat(np.asarray(picture, dtype=np.float64)[..., None], 3, axis=2)
    red = np.array([255.0, 40.0, 0.0])
    return Image.fromarray((grey * (1 - alpha) + red * alpha).round().astype(np.uint8))


def crop(picture: Image.Image, row: int, column: int, rows: int, columns: int) -> Image.Image:
    """The patch at (row, column) with its neighbours."""
    high, wide = picture.height / rows, picture.width / columns
    box = (
        max(0, round((column - _AROUND) * wide)),
        max(0, round((row - _AROUND) * high)),
        min(picture.width, round((column + _AROUND + 1) * wide)),
        min(picture.height, round((row + _AROUND + 1) * high)),
    )
    return picture.crop(box)


def data_url(picture: Image.Image) -> str:
    """A picture as the URL that chat models take, PNG in base64."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def part_of(picture: Image.Image) -> dict[str, Any]:
    """A part of a message's content."""
    return {"type": "image_url", "image_url": {"url": data_url(picture)}}


def with_pictures(contexts: Iterable[Any], pictures: StudyPictures) -> list[tuple[Any, Image.Image]]:
    """The image contexts whose picture is kept."""
    found = []
    for row in contexts:
        picture = None if pd.isna(row.image) else pictures.of(int(row.study), str(row.image))
        if picture is not None:
            found.append((row, picture))
    return found
