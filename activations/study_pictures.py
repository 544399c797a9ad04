"""What ``studies.parquet`` keeps of a study's images: the crops that the encoder sees, and masks of findings on them.

Masks and boxes of a source are of whole images. Masks are brought onto the crop; for boxes the place of it is told.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from activations.roles import IMAGE_NAMES
from radiology.errors import InputError
from radiology.masks import encode_mask
from radiology.study import Study

if TYPE_CHECKING:
    from activations.models.base import ReportModel

#: A pixel of a preview belongs to a finding from this share of it on; of a finding that is thinner than a pixel (a
#: catheter on a large film), from half of the largest share on, and nothing below ``_LEAST_SHARE``.
_INSIDE, _LEAST_SHARE = 0.5, 0.1
#: Shorter side in pixels of the pictures that a crop is measured with, and how far from all of an image still is all.
_WEDGE, _WHOLE = 512, 0.01


def picture_columns(model: ReportModel, study: Study, size: int | None) -> dict[str, Any]:
    """``preview_<image>`` (PNG of the crop that the encoder sees) of the images that a study has, ``masks``, ``crops``.

    Nothing for a model that reads text only.

    Args:
        size: side of the crops in pixels; None is what the encoder sees.

    Raises:
        InputError: a mask has not the shape of its image.
    """
    columns: dict[str, Any] = {}
    masks: dict[str, dict[str, Any]] = {}
    crops: dict[str, list[float]] = {}
    for name in IMAGE_NAMES if model.image_size else ():
        if name in study.images:
            preview = model.preview(study, name, size)
            Image.fromarray(preview).save(buffer := io.BytesIO(), format="PNG")
            columns[f"preview_{name}"] = buffer.getvalue()
            if found := _masks(model, study, name, preview.shape[0]):
                masks[name] = found
    if study.grounded and "preview_frontal" in columns and (part := _part(model, study, "frontal")):
        crops["frontal"] = part
    stated = {"masks": masks, "crops": crops}
    return columns | {name: json.dumps(value, ensure_ascii=False) for name, value in stated.items() if value}


def _masks(model: ReportModel, study: Study, image: str, size: int) -> dict[str, Any]:
    """Finding → its mask on the preview, of those that the crop shows."""
    found = {}
    for finding, mask_hw in study.masks_of(image).items():
        if mask_hw.shape != (shape := study.pixels(image).shape):
            raise InputError(
                f"study {study.study_id!r}: the mask of {finding!r} on {image} is {mask_hw.shape}, its image {shape}; "
                "draw it on the image itself"
            )
        cropped = _crop(model, study, mask_hw, size)
        if cropped.any():
            found[finding] = encode_mask(cropped)
    return found


def _crop(model: ReportModel, study: Study, mask_hw: np.ndarray, size: int) -> np.ndarray:
    """The model's own crop of a mask, (size, size) bool: it goes through what images go through, so it lies on them."""
    if mask_hw.all():  # an image of one grey has no contrast to stretch
        return np.ones((size, size), dtype=bool)
    share = _preview(model, study, mask_hw.astype(np.uint8) * 255, size) / 255
    inside: np.ndarray = share >= max(min(_INSIDE, float(share.max()) / 2), _LEAST_SHARE)
    return inside


def _part(model: ReportModel, study: Study, image: str) -> list[float] | None:
    """x0, y0, x1, y1 of the part of an image that its preview shows, as shares of width and height; None for all of it.

    No model says how it crops, so it is shown a wedge of grey for each axis: the grey at a place tells where it was.
    """
    height, width = study.pixels(image).shape
    scale = min(1.0, _WEDGE / min(height, width))
    shape = max(2, round(height * scale)), max(2, round(width * scale))
    lows, highs = [], []
    for axis in (1, 0):
        ramp = np.linspace(0, 65535, shape[axis]).astype(np.uint16)
        wedge = np.broadcast_to(ramp if axis else ramp[:, None], shape)
        seen = _preview(model, study, wedge, None).mean(axis=1 - axis) / 255 * (shape[axis] - 1)
        step, first = np.polyfit(np.arange(len(seen)), seen, 1)
        lows.append((first + 0.5 - step / 2) / shape[axis])
        highs.append((first + 0.5 + step * (len(seen) - 0.5)) / shape[axis])
    part = np.clip([*lows, *highs], 0, 1)
    return None if np.abs(part - [0, 0, 1, 1]).max() < _WHOLE else [round(float(edge), 4) for edge in part]


def _preview(model: ReportModel, study: Study, grey_hw: np.ndarray, size: int | None) -> np.ndarray:
    """What the model would see of another picture in the place of the study's frontal."""
    drawn = Study(study.study_id, study.patient_id, {"frontal": grey_hw}, study.terms)
    return model.preview(drawn, "frontal", size)
