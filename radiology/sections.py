"""The sections of a free-text radiology report: ``read_sections(text).findings``.

Made for reports as they are, in MIMIC-CXR, Open-I and others. The rules:

- **Headers** are found by ``radiology/section_headers.py``: in any case, with a colon or alone on their line, by many
  names (HISTORY, REASON FOR EXAM, CONCLUSION, …), and not where the same words are part of a sentence.
- **Every character** of the report that is not part of a header (or of a drawn line, or of the turn of a page) is in
  exactly one section, and masks (``___``, ``XXXX``) stay as they are. Line ends within a paragraph become spaces;
  paragraphs are divided by a blank line.
- **A section that comes several times** (several studies in one report) is joined in the order of the report.
- **FINDINGS AND IMPRESSION** in one is ``findings``. "CHEST, PA AND LATERAL:" names the views, which are
  ``examination``, and opens the findings; inside of findings or impression it is text.
- **WET READ** and **ADDENDUM** reach to FINAL REPORT, with all headers in them, or to a drawn line; where no FINAL
  REPORT follows, to the next header. But an addendum after findings or impression reaches to the end of the report, and
  its own headers are text: what was added later is never mixed with what was written first.
- **Signature**: at most eight lines at the end, from "Dictated by", "Electronically signed", "I have reviewed" … on.
- **Findings without a header**: if no section is headed FINDINGS, the findings are prose that stands under no header,
  or follows a blank line in the last of examination, indication, history, technique and comparison (each of which is
  one paragraph): from the first paragraph that says something about a chest on. If none does and there is no
  impression either, it is the last such paragraph. Other text under no header is ``preamble``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from radiology.section_headers import Header, begins_paragraph, find_headers

ReportPart = Literal["findings", "impression", "both"]

_FRONT = ("examination", "indication", "history", "technique", "comparison")
_LATER_READING = ("wet_read", "addendum")
_PARAGRAPH_END = re.compile(r"\n\s*\n\s*")
_PAGE_TURN = re.compile(r"\s*\(over\)", re.IGNORECASE)
_CHEST = re.compile(
    r"\b(?:lungs?|pulmonary|pleural?|heart|cardi\w+|mediastin\w+|hil(?:a|ar|um)|chest|thora\w+|ribs?|spine|osseous|bony|"
    r"aort\w+|trache\w+|diaphragm\w*|hemidiaphragms?|tubes?|catheters?|lines?|pacemaker|wires?|pneumo\w+|effusions?|"
    r"consolidations?|opacit\w+|opacification|infiltrates?|atelecta\w+|oedema|edema|nodul\w+|mass|fractures?|"
    r"radiographs?|views?|lobes?|apex|apices|bas(?:e|es|ilar))\b",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"\b(?:is|are|was|were|has|have|had|no|without|remains?|demonstrates?|shows?|appears?|seen|clear|normal|unchanged|"
    r"stable|unremarkable|present|within|persists?|persistent|compared|new|increased|decreased)\b",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"\b(?:evaluate|eval|assess|please|rule out|r/o|question of|year[- ]old|yo|y/o)\b|\?|//", re.IGNORECASE
)
_SIGNATURE = re.compile(
    r"^[ \t]*(?:(?:this report (?:was|has been) )?(?:electronically|digitally)[ -]signed|signed by|dictated (?:by|and)|"
    r"transcribed by|approved by|verified by|interpreted by|reported by|read by|reviewed and|reading physician|"
    r"attending (?:radiologist|physician)|i,? (?:as )?the (?:teaching|attending)|i have (?:personally )?reviewed|"
    r"end of report|(?-i:(?:Dr|DR|Prof|PROF)\.?(?: [A-Z_][\w.'-]*){1,4}[ \t\r]*$)|"
    r"(?-i:[A-Z_][\w.'-]*(?: [A-Z_][\w.'-]*){0,3},? M\.?D\.?[ \t\r]*$))",
    re.IGNORECASE | re.MULTILINE,
)
_LINE = re.compile(r"^(?=.*\S)", re.MULTILINE)
_MOST_SIGNATURE_LINES = 8


@dataclass(frozen=True)
class Sections:
    """A report by sections; what it does not have is ``None``, never an empty string."""

    preamble: str | None = None
    examination: str | None = None
    indication: str | None = None
    history: str | None = None
    technique: str | None = None
    comparison: str | None = None
    findings: str | None = None
    impression: str | None = None
    recommendation: str | None = None
    notification: str | None = None
    wet_read: str | None = None
    addendum: str | None = None
    signature: str | None = None
    other: str | None = None

    def report(self, part: ReportPart = "findings") -> str | None:
        """Findings, impression, or both (one paragraph each; the one there is if there is only one)."""
        parts = ("findings", "impression") if part == "both" else (part,)
        return "\n\n".join(text for name in parts if (text := getattr(self, name)) is not None) or None


SECTION_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Sections))


@dataclass(frozen=True, slots=True)
class SectionSpan:
    """Characters ``start`` to ``end`` (exclusive) of a report: a piece of a section, or of headers (``None``)."""

    section: str | None
    start: int
    end: int


def read_sections(text: str) -> Sections:
    """Divide a report into its sections; any text is a report, an empty one has none."""
    sections: dict[str, str] = {}
    between = "\n\n"
    for span in section_spans(text):
        piece = text[span.start : span.end]
        if span.section is None:
            between = " " if _PAGE_TURN.match(piece) else "\n\n"
        elif joined := _joined(piece):
            so_far = sections.get(span.section)
            sections[span.section] = joined if so_far is None else f"{so_far}{between}{joined}"
            between = "\n\n"
    return Sections(**sections)


def section_spans(text: str) -> list[SectionSpan]:
    """The pieces of :func:`read_sections` by their place: they cover all of ``text``, in order and without overlap."""
    spans = _with_signature(text, _divide(text, find_headers(text)))
    return _merged(_with_findings(text, spans))


def _joined(piece: str) -> str:
    """Paragraphs with their lines joined, divided by blank lines."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", piece))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _divide(text: str, headers: list[Header]) -> list[SectionSpan]:
    """Pieces by the headers that count, before any look at what they say; text under no header is ``preamble``."""
    spans: list[SectionSpan] = []
    last_banner = max((header.start for header in headers if header.kind == "banner"), default=-1)
    section, at, read = "preamble", 0, False
    for header in headers:
        opens = _opens(header, section, read, last_banner)
        if opens is None:
            continue
        spans.append(SectionSpan(section, at, header.start))
        spans.append(SectionSpan(header.label_section, header.start, header.end))
        section, at = opens, header.end
        read = read or section in ("findings", "impression")
    spans.append(SectionSpan(section, at, len(text)))
    return spans


def _opens(header: Header, section: str, read: bool, last_banner: int) -> str | None:
    """The section after ``header`` where ``section`` goes on until now; None if it is no header at this place.

    ``read``: whether findings or impression came before.
    """
    if header.kind == "break":
        return section
    if header.kind == "banner":
        return "preamble"
    if header.kind == "rule":
        return "preamble" if section in _LATER_READING else section
    if section in _LATER_READING and header.section not in _LATER_READING:
        closed_by_banner = header.start < last_banner
        if closed_by_banner or (section == "addendum" and read):
            return None
    if header.kind == "title" and section in ("findings", "impression", "recommendation"):
        return None
    return header.section


def _with_signature(text: str, spans: list[SectionSpan]) -> list[SectionSpan]:
    """Cut the signature off the last piece."""
    last = spans[-1]
    lines = [match.start() for match in _LINE.finditer(text, last.start, last.end)][-_MOST_SIGNATURE_LINES:]
    if not lines:
        return spans
    for match in _SIGNATURE.finditer(text, lines[0], last.end):
        if begins_paragraph(text, match.start()):
            before = SectionSpan(last.section, last.start, match.start())
            return [*spans[:-1], before, SectionSpan("signature", match.start(), last.end)]
    return spans


def _with_findings(text: str, spans: list[SectionSpan]) -> list[SectionSpan]:
    """Take prose without a header as findings where no section is headed so."""
    filled = [span for span in spans if span.section is not None and text[span.start : span.end].strip()]
    if any(span.section == "findings" for span in filled):
        return spans
    prose = list(_prose(text, filled))
    first = next((i for i, (_, start, end) in enumerate(prose) if _describes(text[start:end])), None)
    if first is None and prose and not any(span.section == "impression" for span in filled):
        first = len(prose) - 1
    if first is None:
        return spans
    begins: dict[SectionSpan, int] = {}
    for span, start, _ in prose[first:]:
        begins.setdefault(span, start)
    cut: list[SectionSpan] = []
    for span in spans:
        begin = begins.get(span, span.end)
        cut += [SectionSpan(span.section, span.start, begin), SectionSpan("findings", begin, span.end)]
    return cut


def _prose(text: str, filled: list[SectionSpan]) -> Iterator[tuple[SectionSpan, int, int]]:
    """Paragraphs that no header announces, as (piece that holds it, start, end)."""
    impression = next((i for i, span in enumerate(filled) if span.section == "impression"), len(filled))
    fronts = [span for span in filled[:impression] if span.section in _FRONT]
    for span in filled:
        if span.section == "preamble":
            yield from _paragraphs(text, span)
        elif fronts and span == fronts[-1]:
            yield from list(_paragraphs(text, span))[1:]


def _paragraphs(text: str, span: SectionSpan) -> Iterator[tuple[SectionSpan, int, int]]:
    start = span.start
    for match in _PARAGRAPH_END.finditer(text, span.start, span.end):
        if text[start : match.start()].strip():
            yield span, start, match.start()
        start = match.end()
    if text[start : span.end].strip():
        yield span, start, span.end


def _describes(paragraph: str) -> bool:
    """Whether a paragraph says something about a chest, and is no title and no question."""
    return bool(_CHEST.search(paragraph) and _STATEMENT.search(paragraph) and not _REQUEST.search(paragraph))


def _merged(spans: list[SectionSpan]) -> list[SectionSpan]:
    """Without empty pieces, and neighbours of one section joined."""
    merged: list[SectionSpan] = []
    for span in spans:
        if span.start == span.end:
            continue
        if merged and merged[-1].section == span.section:
            span = SectionSpan(span.section, merged.pop().start, span.end)
        merged.append(span)
    return merged
