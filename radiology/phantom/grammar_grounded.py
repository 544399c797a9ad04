"""Grounded report text: findings with their boxes as tokens, in the manner of MAIRA-2.

A finding is ``<obj> text <box> <x3> <y10> <x9> <y14> </box> </obj>`` with any number of boxes. An axis has ``bins``
bins and a bin stands for its centre, (bin + 0.5) / bins of the image (arXiv 2406.04449; MAIRA-2 has 100 bins, the
phantom model 32).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from radiology.errors import InputError

#: x0, y0, x1, y1 as shares of image width and height, in [0, 1].
Box = tuple[float, float, float, float]

_MARK = re.compile(r"<obj>|</obj>|<box>|</box>|<[xy]\d+>")
_BOX_AXES = ("x", "y", "x", "y")


def write_grounded(findings: Iterable[tuple[str, Sequence[Box]]], bins: int) -> str:
    """Write (text, boxes) pairs as grounded text; a finding without boxes gets none.

    Raises InputError for a box outside [0, 1] or with its corners swapped.
    """
    return " ".join(
        " ".join(["<obj>", text, *(_box_text(box, bins) for box in boxes), "</obj>"]) for text, boxes in findings
    )


def parse_grounded(text: str, bins: int) -> tuple[list[tuple[str, list[Box]]], list[str]]:
    """Read grounded text, with or without spaces between tokens.

    Returns the findings in order and what was malformed. A malformed box is left out and its finding kept; text outside
    of a finding is an error, as is a finding that is not closed.
    """
    reader = _Reader(bins)
    place = 0
    for match in _MARK.finditer(text):
        reader.words(text[place : match.start()])
        reader.mark(match.group())
        place = match.end()
    reader.words(text[place:])
    reader.end()
    return reader.findings, reader.errors


class _Reader:
    """State of one pass over grounded text."""

    def __init__(self, bins: int) -> None:
        if bins < 1:
            raise InputError(f"grounded text: bins must be at least 1, not {bins}")
        self.bins = bins
        self.findings: list[tuple[str, list[Box]]] = []
        self.errors: list[str] = []
        self._text: list[str] | None = None  # None: outside of a finding
        self._boxes: list[Box] = []
        self._box: list[str] | None = None  # None: outside of a box

    def words(self, text: str) -> None:
        words = " ".join(text.split())
        if not words:
            return
        if self._box is not None:
            self.errors.append(f"words inside a box: {words!r}")
        elif self._text is None:
            self.errors.append(f"words outside of a finding: {words!r}")
        else:
            self._text.append(words)

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
        x0, y0, x1, y1 = (int(mark[2:-1]) for mark in marks)
        if max(x0, y0, x1, y1) >= self.bins:
            self.errors.append(f"a box reaches beyond the {self.bins} bins: {shown!r}")
            return None
        if x1 < x0 or y1 < y0:
            self.errors.append(f"a box with swapped corners: {shown!r}")
            return None
        return (self._centre(x0), self._centre(y0), self._centre(x1), self._centre(y1))

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
            self.findings.append((" ".join(self._text), self._boxes))
        else:
            self.errors.append("a finding without words")
        self._text, self._boxes = None, []


def _box_text(box: Box, bins: int) -> str:
    x0, y0, x1, y1 = box
    if not (0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1):
        raise InputError(f"box {tuple(box)}: needs 0 ≤ x0 ≤ x1 ≤ 1 and 0 ≤ y0 ≤ y1 ≤ 1")
    left, right = _span(x0, x1, bins)
    top, bottom = _span(y0, y1, bins)
    return f"<box> <x{left}> <y{top}> <x{right}> <y{bottom}> </box>"


def _span(low: float, high: float, bins: int) -> tuple[int, int]:
    """Bins of both ends, one apart at least where there is room: a box read back should have an area."""
    first, last = (min(int(value * bins), bins - 1) for value in (low, high))
    if first == last:
        first, last = (first, last + 1) if last + 1 < bins else (max(first - 1, 0), last)
    return first, last
