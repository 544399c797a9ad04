"""A study: what one visit to the X-ray room left behind, as every other part of the project sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.structured import StructuredFinding

ImageName = Literal["frontal", "lateral", "prior_frontal"]
Status = Literal["present", "absent", "uncertain"]
Terms = Literal["open", "credentialed", "phantom", "own"]
Box = tuple[float, float, float, float]

IMAGE_NAMES: tuple[str, ...] = get_args(ImageName)
STATUSES: tuple[str, ...] = get_args(Status)
TERMS: tuple[str, ...] = get_args(Terms)
TEXT_FIELDS: tuple[str, ...] = ("indication", "technique", "comparison", "prior_report", "report")

_SAFE_ID = re.compile(r"[^/\\\x00-\x1f]+")


@dataclass(frozen=True)
class GroundedSentence:
    """One sentence of a report and where on the frontal image it is true.

    ``boxes`` are x0, y0, x1, y1 as shares of width and height; a negative sentence has none. ``extra_boxes`` are those
    of a second reader. ``label`` is a finding of :mod:`radiology.vocabulary`; ``labels``, ``locations`` and
    ``progression`` are the source's own words. ``positive`` says whether the sentence states a finding (True) or the
    lack of one (False). ``translations`` maps a language (``en``, ``es``) to the sentence in it, the language of
    ``text`` included.
    """

    text: str
    boxes: tuple[Box, ...] = ()
    label: str | None = None
    extra_boxes: tuple[Box, ...] = ()
    labels: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    progression: str | None = None
    positive: bool | None = None
    translations: Mapping[str, str] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("grounded sentence: 'text' is empty; leave the sentence out")
        for box in (*self.boxes, *self.extra_boxes):
            x0, y0, x1, y1 = box
            if not (0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1):
                raise InputError(
                    f"grounded sentence: box {box} is not x0 ≤ x1, y0 ≤ y1 in [0, 1]; divide by the image size"
                )


@dataclass(frozen=True, eq=False)
class Study:
    """Images and text of one visit. What is missing is ``None``, never an empty string.

    ``images`` maps ``frontal``, ``lateral``, ``prior_frontal`` to a path or to an array (height, width) of uint8 or
    uint16. ``labels`` maps a finding (``pleural_effusion``, ``pleural_effusion:left``) to present, absent or
    uncertain. ``structured`` are the findings of the report as rows, where a source has them. ``terms`` are the
    conditions under which the source lends its data. A study of text alone has no images.
    """

    study_id: str
    patient_id: str
    images: Mapping[str, Path | np.ndarray]
    terms: Terms
    indication: str | None = None
    technique: str | None = None
    comparison: str | None = None
    prior_report: str | None = None
    report: str | None = None
    grounded: tuple[GroundedSentence, ...] | None = None
    labels: Mapping[str, str] | None = None
    metadata: Mapping[str, Any] | None = None
    structured: tuple[StructuredFinding, ...] | None = None

    def __post_init__(self) -> None:
        _check_id("study_id", self.study_id)
        _check_id("patient_id", self.patient_id)
        where = f"study {self.study_id!r}"
        if self.terms not in TERMS:
            raise InputError(f"{where}: terms {self.terms!r} is not one of {list(TERMS)}")
        for name in TEXT_FIELDS:
            text = getattr(self, name)
            if text is not None and not (isinstance(text, str) and text.strip()):
                raise InputError(f"{where}: {name!r} is empty or not text; use None where there is no such section")
        for name, image in self.images.items():
            _check_image(where, name, image)
        for finding, status in (self.labels or {}).items():
            if status not in STATUSES:
                raise InputError(f"{where}: label {finding!r} is {status!r}, not one of {list(STATUSES)}")

    def pixels(self, name: str) -> np.ndarray:
        """Grey values (height, width) of an image, uint8 or uint16; a path is read now and not kept."""
        if name not in self.images:
            raise InputError(f"study {self.study_id!r} has no image {name!r}; it has {sorted(self.images)}")
        image = self.images[name]
        if isinstance(image, np.ndarray):
            return image
        from radiology.images import read_image

        return read_image(image)

    def masks_of(self, name: str) -> Mapping[str, np.ndarray]:
        """Where findings are on an image: finding → (height, width) bool of its pixels; empty without such knowledge.

        A finding is a label (``pleural_effusion:left``). Sources that know masks override this.
        """
        return {}


def _check_id(field: str, value: str) -> None:
    safe = isinstance(value, str) and _SAFE_ID.fullmatch(value) and value == value.strip()
    if not safe or ".." in value or value == ".":
        raise InputError(
            f"{field} {value!r} cannot be a file name: it must not be empty, hold '/', '\\', '..' or control "
            "characters, or begin or end with a space"
        )


def _check_image(where: str, name: str, image: object) -> None:
    if name not in IMAGE_NAMES:
        raise InputError(f"{where}: image {name!r} is not one of {list(IMAGE_NAMES)}")
    if isinstance(image, Path):
        return
    if not isinstance(image, np.ndarray):
        raise InputError(f"{where}: image {name!r} is a {type(image).__name__}; give a pathlib.Path or a numpy array")
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16) or not image.size:
        raise InputError(
            f"{where}: image {name!r} has shape {image.shape} and type {image.dtype}; "
            "it must be (height, width) of uint8 or uint16"
        )
