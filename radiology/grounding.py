"""Grounded report text: findings with their boxes as tokens, in the manner of MAIRA-2, and boxes on crop and image.

A finding is ``<obj> text <box> <x3> <y10> <x9> <y14> </box> </obj>`` with any number of boxes, with or without spaces
between the marks. An axis has ``bins`` bins and a bin stands for its centre, (bin + 0.5) / bins of the crop that the
model sees (Bannur et al. 2024, arXiv 2406.04449; MAIRA-2 has 100 bins, the phantom model 32).

Steered models write malformed text; it is read as far as it goes, and what is wrong is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from radiology.errors import InputError
from radiology.study import Box, GroundedSentence

_MARK = re.compile(r"<obj>|</obj>|<box>|</box>|<[xy][0-9]+>")
_BOX_AXES = ("x", "y", "x", "y")
_LONGEST_BIN = 9  # digits


@dataclass(frozen=True)
class Grounded:
    """What grounded text says.

    Attributes:
        sentences: the findings in order, boxes in [0, 1] of the crop.
        text: all words in order, those outside of findings too, without marks; text without any mark is as it was.
        errors: what was malformed, one message each; they hold no words of the text.
    """

    sentences: tuple[GroundedSentence, ...]
    text: str
    errors: tuple[str, ...]


def parse_grounded(text: str, bins: int) -> Grounded:
    """Read grounded text. Never fails on text: a malformed box is left out, its finding and all words are kept.

    Text without a single mark is a plain report, which is no error.

    Raises:
        InputError: ``bins`` is less than 1.
    """
    if bins < 1:
        raise InputError(f"grounded text: bins must be at least 1, not {bins}")
    if _MARK.search(text) is None:
        return Grounded((), text, ())
    reader = _Reader(bins)
    place = 0
    for match in _MARK.finditer(text):
        reader.words(text[place : match.start()])
        reader.mark(match.group())
        place = match.end()
    reader.words(text[place:])
    reader.end()
    words = " ".join(_MARK.sub(" ", text).split())
    return Grounded(tuple(reader.sentences), words, tuple(reader.errors))


def write_grounded(sentences: Iterable[GroundedSentence], bins: int) -> str:
    """Write findings as grounded text; a finding without boxes gets none.

    Reading it back gives the same words, and each corner at the centre of its bin.

    Raises:
        InputError: the words of a finding hold a mark, or ``bins`` is less than 1.
    """
    if bins < 1:
        raise InputError(f"grounded text: bins must be at least 1, not {bins}")
    return " ".join(_sentence_text(sentence, bins) for sentence in sentences)


def to_original(box: Box, width: int, height: int) -> Box:
    """A box of the square centre crop → the same box on the original image of ``width`` × ``height`` pixels.

    Both in shares of their own width and height. Nothing is rounded to whole pixels, so :func:`to_crop` undoes it.
    """
    (scale_x, shift_x), (scale_y, shift_y) = _crop_of(width, height)
    x0, y0, x1, y1 = box
    return (shift_x + x0 * scale_x, shift_y + y0 * scale_y, shift_x + x1 * scale_x, shift_y + y1 * scale_y)


def to_crop(box: Box, width: int, height: int) -> Box | None:
    """A box of the original image → what of it lies in the square centre crop; ``None`` if nothing does."""
    (scale_x, shift_x), (scale_y, shift_y) = _crop_of(width, height)
    x = _clipped((box[0] - shift_x) / scale_x, (box[2] - shift_x) / scale_x)
    y = _clipped((box[1] - shift_y) / scale_y, (box[3] - shift_y) / scale_y)
    return (x[0], y[0], x[1], y[1]) if x is not None and y is not None else None


def _clipped(low: float, high: float) -> tuple[float, float] | None:
    """What of an interval lies in [0, 1]; ``None`` if nothing, or one point of a longer interval."""
    inside = max(0.0, low), min(1.0, high)
    return inside if inside[0] < inside[1] or inside == (low, high) else None


def _crop_of(width: int, height: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """(share of the axis that the crop covers, share of it before the crop) of x and of y."""
    if width < 1 or height < 1:
        raise InputError(f"image of {width} × {height} pixels: both must be at least 1")
    side = min(width, height)
    return (side / width, (width - side) / 2 / width), (side / height, (height - side) / 2 / height)


class _Reader:
    """State of one pass over grounded text."""

    def __init__(self, bins: int) -> None:
        self.bins = bins
        self.sentences: list[GroundedSentence] = []
        self.errors: list[str] = []
        self._text: list[str] | None = None  # None: outside of a finding
        self._boxes: list[Box] = []
        self._box: list[str] | None = None  # None: outside of a box

    def words(self, text: str) -> None:
        words = text.split()
        if not words:
            return
        if self._box is not None:
            self.errors.append("words inside a box")
        elif self._text is None:
            self.errors.append("words outside of a finding")
        if self._text is not None:
            self._text += words

    def mark(self, mark: str) -> None:
        if mark == "<obj>":
            self._close_finding(expected=False)
            self._text = []
        elif mark == "</obj>":
            self._close_finding(expected=True)
        elif mark == "<box>":
            self._open_box()
        elif mark == "</box>":
            self._close_box()
        elif self._box is None:
            self.errors.append(f"{mark} outside of a box")
        else:
            self._box.append(mark)

    def end(self) -> None:
        self._close_finding(expected=False)

    def _open_box(self) -> None:
        if self._text is None:
            self.errors.append("a box outside of a finding")
        if self._box is not None:
            self.errors.append("a box that was not closed")
        self._box = []

    def _close_box(self) -> None:
        if self._box is None:
            self.errors.append("</box> without <box>")
            return
        box = self._read_box(self._box)
        self._box = None
        if box is not None and self._text is not None:
            self._boxes.append(box)

    def _read_box(self, marks: list[str]) -> Box | None:
        shown = " ".join(marks)
        if tuple(mark[1] for mark in marks) != _BOX_AXES:
            self.errors.append(f"a box needs <x> <y> <x> <y>, not {shown!r}")
            return None
        x0, y0, x1, y1 = (self._bin(mark[2:-1]) for mark in marks)
        if max(x0, y0, x1, y1) >= self.bins:
            self.errors.append(f"a box reaches beyond the {self.bins} bins: {shown!r}")
            return None
        if x1 < x0 or y1 < y0:
            self.errors.append(f"a box with swapped corners: {shown!r}")
            return None
        return (self._centre(x0), self._centre(y0), self._centre(x1), self._centre(y1))

    def _bin(self, digits: str) -> int:
        return int(digits) if len(digits) <= _LONGEST_BIN else self.bins  # int() itself fails on very long ones

    def _centre(self, place: int) -> float:
        return (place + 0.5) / self.bins

    def _close_finding(self, expected: bool) -> None:
        if self._box is not None:
            self.errors.append("a box that was not closed")
            self._box = None
        if self._text is None:
            if expected:
                self.errors.append("</obj> without <obj>")
            return
        if not expected:
            self.errors.append("a finding that was not closed")
        if self._text:
            self.sentences.append(GroundedSentence(" ".join(self._text), tuple(self._boxes)))
        else:
            self.errors.append("a finding without words")
        self._text, self._boxes = None, []


def _sentence_text(sentence: GroundedSentence, bins: int) -> str:
    if _MARK.search(sentence.text):
        raise InputError("grounded sentence: its text holds a mark such as <obj> or <x3>; remove it")
    return " ".join(["<obj>", sentence.text, *(_box_text(box, bins) for box in sentence.boxes), "</obj>"])


def _box_text(box: Box, bins: int) -> str:
    x0, y0, x1, y1 = box
    left, right = _span(x0, x1, bins)
    top, bottom = _span(y0, y1, bins)
    return f"<box> <x{left}> <y{top}> <x{right}> <y{bottom}> </box>"


def _span(low: float, high: float, bins: int) -> tuple[int, int]:
    """Bins of both ends, one apart at least where there is room: a box read back should have an area."""
    first, last = (min(int(value * bins), bins - 1) for value in (low, high))
    if first == last:
        first, last = (first, last + 1) if last + 1 < bins else (max(first - 1, 0), last)
    return first, last
