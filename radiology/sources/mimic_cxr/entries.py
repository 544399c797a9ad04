"""A study of MIMIC-CXR as its tables name it, and what its ids, dates and views may look like.

Paths are built from the ids, so nothing but what PhysioNet gives is let through: numbers for patients and studies;
letters, digits, dots and dashes for images.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime

FRONTAL_VIEWS = ("PA", "AP")  # the better one first
LATERAL_VIEWS = ("LATERAL", "LL", "RL")

_VIEW_OF_MEANING = {
    "postero-anterior": "PA",
    "antero-posterior": "AP",
    "lateral": "LATERAL",
    "left lateral": "LL",
    "right lateral": "RL",
}
_DICOM_ID = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NUMBER_ID = re.compile(r"[1-9][0-9]{1,11}")
_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:\.0)?")
_TIME = re.compile(r"([0-9]{1,6})(?:\.([0-9]*))?")


#: Date as the number YYYYMMDD and time as the number HHMMSS.fff, None where unknown.
Moment = tuple[int | None, float | None]


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image as its table has it: ``row`` is the line (the header being 1; None without a table)."""

    dicom_id: str
    view: str | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True)
class StudyEntry:
    """One study; ``date`` and ``time`` are its :data:`Moment`."""

    patient: int
    study: int
    images: tuple[ImageEntry, ...]
    date: int | None = None
    time: float | None = None

    @property
    def frontals(self) -> list[ImageEntry]:
        """Images marked PA, then those marked AP, each by name."""
        return _of_views(self.images, FRONTAL_VIEWS)

    @property
    def laterals(self) -> list[ImageEntry]:
        """Images marked lateral, by name."""
        return sorted(_of_views(self.images, LATERAL_VIEWS), key=lambda image: image.dicom_id)

    @property
    def others(self) -> list[ImageEntry]:
        """Images of another or of no known view, by name."""
        known = (*FRONTAL_VIEWS, *LATERAL_VIEWS)
        return sorted((image for image in self.images if image.view not in known), key=lambda image: image.dicom_id)

    @property
    def order(self) -> tuple[int, int, float, int]:
        """By patient, then time; what has no date comes first, and is before nothing (:func:`is_before`)."""
        time = -1.0 if self.time is None else self.time
        return self.patient, self.date or 0, time, self.study

    def is_before(self, other: StudyEntry) -> bool:
        """Whether this study is strictly earlier, as far as dates and times are known."""
        return is_before((self.date, self.time), (other.date, other.time))

    @property
    def study_time(self) -> str | None:
        """Date and time in ISO form, to the second; the date alone where there is no time."""
        if self.date is None:
            return None
        day = Date(self.date // 10_000, self.date // 100 % 100, self.date % 100)
        if self.time is None:
            return day.isoformat()
        clock = int(self.time)
        return datetime(day.year, day.month, day.day, clock // 10_000, clock // 100 % 100, clock % 100).isoformat()


def is_before(one: Moment, other: Moment) -> bool:
    """Whether ``one`` is strictly earlier, as far as dates and times are known."""
    if one[0] is None or other[0] is None or one[0] != other[0]:
        return one[0] is not None and other[0] is not None and one[0] < other[0]
    return one[1] is not None and other[1] is not None and one[1] < other[1]


def number_id(text: str, letter: str) -> int | None:
    """The number of ``10000032`` or ``p10000032``; None if it is anything else."""
    digits = text.removeprefix(letter)
    return int(digits) if _NUMBER_ID.fullmatch(digits) else None


def is_dicom_id(text: str) -> bool:
    """Whether ``text`` can be the name of an image, and nothing but a name."""
    return _DICOM_ID.fullmatch(text) is not None


def view_of(position: str, meaning: str) -> str | None:
    """View in capitals, from ViewPosition or, if that is empty, from the meaning of the view code."""
    view = " ".join(position.upper().split()) or _VIEW_OF_MEANING.get(meaning.lower().strip())
    return sys.intern(view) if view else None


def date_of(text: str) -> int | None:
    """YYYYMMDD as a number; None if that is no day."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    try:
        day = Date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
    return day.year * 10_000 + day.month * 100 + day.day


def time_of(text: str) -> float | None:
    """HHMMSS.fff as a number; None if that is no time. A table saved as numbers has lost the zeros in front."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    digits = match[1].zfill(6)
    if digits[:2] >= "24" or digits[2:4] >= "60" or digits[4:] >= "60":
        return None
    return float(f"{digits}.{match[2] or 0}")


def _of_views(images: Sequence[ImageEntry], views: Sequence[str]) -> list[ImageEntry]:
    chosen = [image for image in images if image.view in views]
    return sorted(chosen, key=lambda image: (views.index(image.view or ""), image.dicom_id))
