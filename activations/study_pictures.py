"""What ``studies.parquet`` keeps of a study's images: the crops that the encoder sees, and masks of findings on them."""

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


def picture_columns(model: ReportModel, study: Study, size: int | None) -> dict[str, Any]:
    """``preview_<image>`` (PNG of the crop that the encoder sees) of each image that the study has, and ``masks``.

    Nothing for a model that reads text only.

    Args:
        size: side of the crops in pixels; None is what the encoder sees.

    Raises:
        InputError: a mask has not the shape of its image.
    """
    columns: dict[str, Any] = {}
    masks: dict[str, dict[str, Any]] = {}
    for name in IMAGE_NAMES if model.image_size else ():
        if name in study.images:
            preview = model.preview(study, name, size)
            Image.fromarray(preview).save(buffer := io.BytesIO(), format="PNG")
            columns[f"preview_{name}"] = buffer.getvalue()
            if found := _masks(model, study, name, preview.shape[0]):
                masks[name] = found
    return columns | ({"masks": json.dumps(masks, ensure_ascii=False)} if masks else {})


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
    drawn = Study(study.study_id, study.patient_id, {"frontal": mask_hw.astype(np.uint8) * 255}, study.terms)
    share = model.preview(drawn, "frontal", size) / 255
    inside: np.ndarray = share >= max(min(_INSIDE, float(share.max()) / 2), _LEAST_SHARE)
    return inside
