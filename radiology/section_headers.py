"""Where the headers of a radiology report stand: ``FINDINGS:``, ``Impression``, ``FINAL REPORT``, a drawn line.

Headers are told from the same words in a sentence by place, case and colon; :func:`find_headers` has the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

#: ``section`` opens a section, ``title`` names the views ("CHEST, PA AND LATERAL:"), ``banner`` is FINAL REPORT,
#: ``rule`` a drawn line, ``break`` the turn of a page in the middle of a sentence.
HeaderKind = Literal["section", "title", "banner", "rule", "break"]
#: How the letters of a whole text are written.
Case = Literal["small", "capitals", "mixed"]

_LABELS = {
    "examination": "examination, exam, type of examination, type of exam, examination type, exam type, study, "
    "procedure",
    "indication": "indication, indications, clinical indication, clinical indications, reason for exam, "
    "reason for examination, reason for the exam, reason for the examination, reason for this exam, "
    "reason for this examination, reason for study, reason for the study, reason, clinical question",
    "history": "history, clinical history, clinical information, patient history, medical history, clinical data, "
    "clinical details, clinical background, underlying medical condition, medical condition, admitting diagnosis",
    "technique": "technique, techniques, protocol, views, contrast",
    "comparison": "comparison, comparisons, comparison study, comparison studies, comparison exam, comparison exams, "
    "comparison examination, comparison film, comparison films, reference exam, prior studies, prior study",
    "findings": "findings, finding, findings and impression, findings/impression, findings / impression, "
    "findings/ impression, impression and findings, observations, description, result, results, report",
    "impression": "impression, impressions, conclusion, conclusions, opinion, summary, interpretation",
    "recommendation": "recommendation, recommendations",
    "notification": "notification, notifications, communication, critical results",
    "wet_read": "wet read, wetread, preliminary read, preliminary report, preliminary findings, "
    "provisional findings impression, provisional findings impression (pfi), pfi",
    "addendum": "addendum, addenda",
    "other": "date, date of exam, date of examination, date of study, dose, radiation dose, fluoroscopy time, "
    "ordering physician, referring physician",
}
_SECTION_OF = {label: section for section, labels in _LABELS.items() for label in re.split(r",\s*", labels)}

#: Labels that mean nothing else: they also count without a colon, alone on a line.
_PLAIN = frozenset(
    re.split(
        r",\s*",
        "findings, impression, impressions, conclusion, indication, indications, clinical indication, history, "
        "clinical history, clinical information, technique, comparison, comparisons, examination, recommendation, "
        "recommendations, notification, addendum, wet read, findings and impression, findings/impression, "
        "reason for exam, reason for examination",
    )
)
#: Labels that also count in the middle of a line, because line ends are lost in many copies of reports.
_INLINE = _PLAIN | {"exam", "wetread", "pfi", "conclusions", "reason for the exam", "reason for the examination"}
_MAIN_WORDS = ("ADDENDUM", "IMPRESSION", "FINDINGS", "COMPARISON", "HISTORY", "INDICATION", "TECHNIQUE")
_OFTEN_MISSPELT = tuple(word.upper() for word in _PLAIN if " " not in word and "/" not in word)


def _any_of(labels: set[str] | frozenset[str]) -> str:
    longest_first = sorted(labels, key=lambda label: (-len(label), label))
    return "|".join(re.escape(label).replace(r"\ ", r"[ \t]+") for label in longest_first)


_BANNER = re.compile(r"[#* \t]*FINAL[ \t]+REPORT\b(?:[ \t]*[:*]+)?")
_BANNER_ALONE = re.compile(r"[#* \t]*final[ \t]+report[ \t]*[:*]*[ \t\r]*(?=\n|$)", re.IGNORECASE)
_PAGE_BREAK = re.compile(r"[ \t]*\(over\)\s*(?:final[ \t]+report\s*)?(?:\(cont(?:inued|'d)?\.?\))?", re.IGNORECASE)
_RULE = re.compile(r"[ \t]*(?:_{8,}|-{5,}|={5,}|\*{5,})[ \t\r]*(?=\n|$)")
_WHOLE_LINES: tuple[tuple[re.Pattern[str], HeaderKind], ...] = (
    (_PAGE_BREAK, "break"),
    (_RULE, "rule"),
    (_BANNER_ALONE, "banner"),
)
_LABEL = re.compile(
    rf"[#* \t]*(?P<label>{_any_of(set(_SECTION_OF))})(?P<more>[ \t]*\([^()\n]{{1,40}}\))?(?!\w)"
    r"(?P<end>[ \t]*\*{0,2}[ \t]*:\*{0,2}|[ \t]*\*{0,2}[ \t\r]*(?=\n|$)|[ \t]*[-–—](?=[ \t])|(?=[ \t]+1[.)][ \t]))",
    re.IGNORECASE,
)
_VERSIONED = re.compile(  # these two are followed by a number, a name or a time instead of a colon
    r"[#* \t]*(?P<label>WET[ \t]?READ|ADDENDUM)\b"
    r"(?:[ \t]+VERSION)?(?:[ \t]*#[ \t]*\d+)?(?:[ \t]*:|(?=[ \t]{2,}\S)|(?=[ \t]+_)|(?=[ \t\r]*(?:\n|$)))"
)
_CAPITALS = re.compile(r"[ \t]*(?P<label>[A-Z][A-Z0-9 \t,./()&'#:_-]{2,80}?)[ \t]*:(?=\s|$)")
_END_WITHIN = re.compile(r"[A-Z]{2}[.]\s|[)_][.]\s")
_VIEW = re.compile(
    r"\b(?:CHEST(?!\s+(?:TUBE|WALL))|PORTABLE|CXR|X-?RAY|RADIOGRAPHS?|VIEWS?|PA (?:AND|&) LAT\w*|AP (?:AND|&) LAT\w*)\b"
)
_INLINE_LABEL = re.compile(rf"(?<=\s)(?P<label>{_any_of(_INLINE)})[ \t]*:", re.IGNORECASE)
_LEADS_ON = re.compile(
    r"(?:[:,(]|\b(?:a|above|acute|and|as|below|by|following|for|from|in|no|of|on|or|per|prior|see|the|these|this|to|"
    r"under|with))$",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"\n[ \t]*[a-z]")  # the next line begins with a small letter
_SENTENCE_ENDS = ".!?:;)]_"


@dataclass(frozen=True, slots=True)
class Header:
    """A header from ``start`` to ``end`` (exclusive) and the section it opens, if any.

    ``label_section``: where its own words go when they say something; None if they are a header and nothing else.
    """

    start: int
    end: int
    kind: HeaderKind
    section: str | None = None
    label_section: str | None = None


def find_headers(text: str) -> list[Header]:
    """Headers of ``text`` in order.

    - At the beginning of a line, a known label with a colon (or a dash, or before "1."), in capitals or with a capital;
      in small letters only where a paragraph begins, or if the whole text is in small letters.
    - A plain label such as "Findings" alone on a line, on the same terms, if the next line does not go on in small
      letters; in capitals not in the midst of capitals.
    - In the middle of a line, a plain label with a colon, in capitals or with a capital, unless a comma or a word as
      "the" or "see" leads to it. Where the whole text is in one case, only after the end of a sentence.
    - Misspelt single words in capitals with a colon (IMPRESSON) count as what they are nearest to. Other labels in
      capitals that hold a main word ("CHEST FINDINGS:") open its section, and stay in its text.
    """
    case: Case = "small" if text == text.lower() else "capitals" if text == text.upper() else "mixed"
    headers: list[Header] = []
    for start, end in _lines(text):
        last = headers[-1].end if headers else 0
        if start >= last:
            headers += _headers_of_line(text, start, end, last, case)
    return headers


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if text[start:end].strip():
            yield start, end
        start = end + 1


def _headers_of_line(text: str, start: int, end: int, last: int, case: Case) -> Iterator[Header]:
    """Headers of the line from ``start`` to ``end``; ``last`` is where the header before it ends."""
    for pattern, kind in _WHOLE_LINES:
        if match := pattern.match(text, start):
            yield Header(match.start(), match.end(), kind)
            return
    if match := _BANNER.match(text, start):
        yield Header(match.start(), match.end(), "banner")
        start = last = match.end()
    first = _first_of_line(text, start, last, case)
    if first is not None:
        yield first
        start = first.end
    for match in _INLINE_LABEL.finditer(text, start, end):
        if _is_inline_header(text, match, case):
            yield Header(match.start(), match.end(), "section", _SECTION_OF[_normal(match["label"])])


def _first_of_line(text: str, start: int, last: int, case: Case) -> Header | None:
    match = _LABEL.match(text, start)
    begins = not text[last:start].strip() or begins_paragraph(text, start)
    if match and _is_header(text, match, begins, case):
        section = _SECTION_OF[_normal(match["label"])]
        kept = section == "other" or bool(match["more"] and match["more"].strip().lower() != "(s)")
        return Header(match.start(), match.end(), "section", section, section if kept else None)
    if match := _VERSIONED.match(text, start):
        section = "addendum" if match["label"] == "ADDENDUM" else "wet_read"
        return Header(match.start(), match.end(), "section", section)
    if match := _CAPITALS.match(text, start):
        return _unlisted(match)
    return None


def _is_header(text: str, match: re.Match[str], begins: bool, case: Case) -> bool:
    """Whether a label at the beginning of a line, which ``begins`` a paragraph or not, is a header."""
    label = match["label"]
    if _SECTION_OF[_normal(label)] == "other" and not label.isupper():
        return False
    small = not label[0].isupper() and case != "small"
    if match["end"].endswith((":", ":*", ":**")):
        return begins or not small
    if _normal(label) not in _PLAIN or match["more"]:
        return False
    if match["end"].strip(" \t\r*"):  # a dash
        return not small
    if label.isupper():
        return begins or not _last_word(text, match.start()).isupper()
    if case != "small" and _GOES_ON.match(text, match.end()):
        return False
    return begins or not small


def _unlisted(match: re.Match[str]) -> Header | None:
    """A label in capitals that is in no list: misspelt, with a main word in it, or the name of the views."""
    label = match["label"]
    if _END_WITHIN.search(label):  # all of the report is in capitals: this is a sentence
        return None
    if label.isalpha() and len(label) >= 7 and (near := get_close_matches(label, _OFTEN_MISSPELT, 1, 0.85)):
        return Header(match.start(), match.end(), "section", _SECTION_OF[near[0].lower()])
    for word in _MAIN_WORDS:
        if re.search(rf"\b{word}\b", label) and len(label.split()) <= 6:
            section = _SECTION_OF[word.lower()]
            return Header(match.start(), match.end(), "section", section, section)
    if _VIEW.search(label):
        return Header(match.start(), match.end(), "title", "findings", "examination")
    return None


def _is_inline_header(text: str, match: re.Match[str], case: Case) -> bool:
    label, before = match["label"], text[max(0, match.start() - 60) : match.start()].rstrip()
    if before.endswith((".", "!", "?")):
        return case == "small" or label[0].isupper()
    if case != "mixed" or not label[0].isupper() or _LEADS_ON.search(before):
        return label.isupper() and before.endswith((":", ")", "]", "_"))
    return label.isupper() or _normal(label) != "history"  # "Past medical History:" is part of an indication


def begins_paragraph(text: str, position: int) -> bool:
    """Whether what stands before ``position`` is nothing, a blank line, or the end of a sentence."""
    window = text[max(0, position - 200) : position]
    before = window.rstrip()
    return not before or "\n" in window[len(before) :].replace("\n", "", 1) or before.endswith(tuple(_SENTENCE_ENDS))


def _last_word(text: str, position: int) -> str:
    words = text[max(0, position - 60) : position].split()
    return words[-1] if words else ""


def _normal(label: str) -> str:
    return " ".join(label.lower().split())
