"""Where, how much, and how placed: attributes read from the words around a finding."""

from __future__ import annotations

import re

from radiology.findings_text import Span

_PART = r"(?:upper|mid\w*|lower)(?:\s+(?:lobe|lung|zone|field))?s?"
_SIDE = re.compile(
    r"\b(?=[blr])(?!(?:left|right)\s+(?:atri|ventric|main))(?:(?P<bilateral>bilateral(?:ly)?|both|bibasilar|bibasal|biapical"
    r"|(?:left|right)\s+(?:and(?:\s+\w+)?|or|greater\s+than|more\s+than|less\s+than|and/or|>)\s*(?:the\s+)?(?:right|left)"
    rf"|(?:left|right)\s+{_PART}\s+and\s+(?:the\s+)?(?:left|right)\s+{_PART})"
    r"|(?P<left>left|lingular?|l[lu]l|lt|l(?![-./\d]))|(?P<right>right|r[lmu]l|rt|r(?![-./\d])))\b"
)
_LOCATION = re.compile(
    r"\b(?=[abhlmprsu])(?:(?P<upper>upper|[lr]ul)|(?P<mid>mid(?:dle|lung)?|rml)|(?P<lower>lower|[lr]ll)"
    r"|(?P<apical>apical|apex|apices|biapical)"
    r"|(?P<basal>basal|basilar|base|bases|bibasilar|bibasal)|(?P<perihilar>perihilar|hilar)"
    r"|(?P<retrocardiac>retrocardiac)|(?P<lingula>lingular?)|(?P<subpulmonic>subpulmonic))\b"
)
_DEGREE = (
    r"(?:trace|tiny|minimal(?:ly)?|small|mild(?:ly)?|slight(?:ly)?|moderate(?:ly)?|large|marked(?:ly)?|severe(?:ly)?"
    r"|massive(?:ly)?|extensive|borderline)"
)
_SEVERITY = re.compile(rf"\b(?=[belmst]){_DEGREE}(?:(?:\s+to\s+|-to-|-){_DEGREE})?\b")
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


def read_side(lowered: str, before: Span, after: Span) -> str | None:
    """``left``, ``right`` or ``bilateral``: the last such word before the finding, else the first one after it."""
    return _group(_last(_SIDE, lowered, before) or _SIDE.search(lowered, *after))


def read_location(lowered: str, before: Span, after: Span) -> str | None:
    """Normalised part of the lung (upper, mid, lower, apical, basal, …), by the same rule as the side."""
    return _group(_last(_LOCATION, lowered, before) or _LOCATION.search(lowered, *after))


def read_severity(lowered: str, before: Span, after: Span) -> str | None:
    """Size or degree as written, adverbs as adjectives (``mildly`` → ``mild``), ranges joined (``small-moderate``)."""
    match = _last(_SEVERITY, lowered, before) or _SEVERITY.search(lowered, *after)
    if match is None:
        return None
    return _ADVERB.sub("", re.sub(r"\s+to\s+|-to-", "-", match.group()))


def read_placement(lowered: str, clause: Span, stomach_tube: bool) -> str | None:
    """``misplaced`` or ``placed`` where the clause says so of a device."""
    if _MISPLACED.search(lowered, *clause) or (stomach_tube and _STOMACH_TUBE_MISPLACED.search(lowered, *clause)):
        return "misplaced"
    return "placed" if _PLACED.search(lowered, *clause) else None


def _last(pattern: re.Pattern[str], lowered: str, span: Span) -> re.Match[str] | None:
    matches = list(pattern.finditer(lowered, *span))
    return matches[-1] if matches else None


def _group(match: re.Match[str] | None) -> str | None:
    return match.lastgroup if match else None
