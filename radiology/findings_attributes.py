"""Where, how much, and how placed: attributes read from the words around a finding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from radiology.findings_text import Span

_PART = r"(?:upper|mid\w*|lower)(?:\s+(?:lobe|lung|zone|field))?s?"
_SIDE = (
    r"(?!(?:left|right)\s+(?:atri|ventric|main))(?:bilateral(?:ly)?|both|bibasilar|bibasal|biapical"
    r"|(?:left|right)\s+(?:and(?:\s+\w+)?|or|greater\s+than|more\s+than|less\s+than|and/or|>)\s*(?:the\s+)?(?:right|left)"
    rf"|(?:left|right)\s+{_PART}\s+and\s+(?:the\s+)?(?:left|right)\s+{_PART}"
    r"|left|lingular?|l[lu]l|lt|l(?![-./\d])|right|r[lmu]l|rt|r(?![-./\d]))"
)
_LOCATION = re.compile(
    r"\b(?:(?P<upper>upper|[lr]ul)|(?P<mid>mid(?:dle|lung)?|rml)|(?P<lower>lower|[lr]ll)"
    r"|(?P<apical>apical|apex|apices|biapical)|(?P<basal>basal|basilar|bases?|bibasilar|bibasal)"
    r"|(?P<perihilar>perihilar|hilar)|(?P<retrocardiac>retrocardiac)|(?P<lingula>lingular?)"
    r"|(?P<subpulmonic>subpulmonic))\b"
)
_PLACE = (
    r"upper|mid(?:dle|lung)?|lower|apical|apex|apices|basal|basilar|bases?|perihilar|hilar|retrocardiac|subpulmonic"
)
_DEGREE = (
    r"(?:trace|tiny|minimal(?:ly)?|small|mild(?:ly)?|slight(?:ly)?|moderate(?:ly)?|large|marked(?:ly)?|severe(?:ly)?"
    r"|massive(?:ly)?|extensive|borderline)"
)
_DEGREES = rf"{_DEGREE}(?:(?:\s+to\s+|-to-|-){_DEGREE})?"
_DESCRIBING = re.compile(rf"\b(?=[abehlmprstu])(?:(?P<side>{_SIDE})|(?P<place>{_PLACE})|(?P<degree>{_DEGREES}))\b")
_ADVERB = re.compile(r"(?<=mild|sive|rate|rked|vere|imal|ight)ly\b")

_MISPLACED = re.compile(
    r"\bmis-?placed\b|\bmal-?position\w*|\btoo\s+(?:high|low|far|deep)\b|\bcoiled\b|\bkinked\b"
    r"|\b(?:right|left)\s+main(?:stem|\s+stem)?\s+bronchus\b|\bin\s+the\s+o?esophagus\b"
    r"|\b(?:should|could|needs?\s+to|must)\s+be\s+(?:advanced|retracted|withdrawn|repositioned|pulled)\b"
    r"|\b(?:advancement|repositioning|retraction)\b"
    r"|\bside[\s-]*(?:port|hole)s?\s+(?:is\s+|are\s+)?(?:above|at|near|proximal\s+to)\s+the\s+"
    r"(?:ge|gastro-?o?esophageal)\s+junction\b"
)
_STOMACH_TUBE_MISPLACED = re.compile(
    r"\babove\s+the\s+(?:left\s+)?(?:hemi)?diaphragm\b|\bin\s+the\s+(?:airway|lung)\b|\bbronchus\b"
)
_PLACED = re.compile(
    r"\bin\s+(?:place|position|situ)\b|\b(?:satisfactory|appropriate|standard|good|adequate|correct|expected|proper)"
    r"(?:ly)?\s+(?:position|location|place|positioned|placed)|\bends?\s+(?:in|above|at|over)\b|\bterminat(?:es?|ing)\b"
    r"|\btip\b[\w\s]{0,20}?\b(?:in|over|at|above|below|within)\b|\b(?:in|into|within)\s+the\s+(?:stomach|duodenum)\b"
    r"|\bbelow\s+the\s+(?:left\s+)?(?:hemi)?diaphragm\b|\babove\s+the\s+carina\b"
    r"|\bin\s+(?:the\s+)?(?:\w+\s+)?(?:svc|superior\s+vena\s+cava)\b"
)


class Word(NamedTuple):
    """A word that describes a finding: where it stands, and what it tells."""

    start: int
    end: int
    side: str | None = None
    location: str | None = None
    severity: str | None = None


def describing_words(lowered: str, clause: Span) -> list[Word]:
    """Words of a clause that tell side (left, right, bilateral), part of the lung or degree, in order.

    Parts are normalised (upper, mid, lower, apical, basal, perihilar, retrocardiac, lingula, subpulmonic); degrees are
    as written, adverbs as adjectives (``mildly`` → ``mild``), ranges joined (``small-moderate``).
    """
    return [
        Word(*match.span(), *_told_by(match.lastgroup or "", match.group()))
        for match in _DESCRIBING.finditer(lowered, *clause)
    ]


@lru_cache(maxsize=1024)
def _told_by(kind: str, text: str) -> tuple[str | None, str | None, str | None]:
    if kind == "degree":
        return None, None, _ADVERB.sub("", re.sub(r"\s+to\s+|-to-", "-", text))
    location = _LOCATION.search(text)
    side = None
    if kind == "side":
        both = text.startswith("b") or ("left" in text and "right" in text)
        side = "bilateral" if both else "left" if text.startswith("l") else "right"
    return side, location.lastgroup if location else None, None


def told(
    words: Sequence[Word], field: Literal["side", "location", "severity"], before: Span, after: Span
) -> str | None:
    """What the words tell of a field: the last one before the end of the finding, else the first one after it."""
    found: str | None = None
    for word in words:
        value: str | None = getattr(word, field)
        if value is None:
            continue
        if before[0] <= word.start and word.end <= before[1]:
            found = value
        elif found is None and after[0] <= word.start and word.end <= after[1]:
            return value
    return found


def read_placement(lowered: str, clause: Span, stomach_tube: bool) -> str | None:
    """``misplaced`` or ``placed`` where the clause says so of a device."""
    if _MISPLACED.search(lowered, *clause) or (stomach_tube and _STOMACH_TUBE_MISPLACED.search(lowered, *clause)):
        return "misplaced"
    return "placed" if _PLACED.search(lowered, *clause) else None
