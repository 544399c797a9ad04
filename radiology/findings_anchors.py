"""Findings that a report states without their name: "heart size is normal", "the lungs are clear", "extubated"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from radiology.findings_text import Span

if TYPE_CHECKING:
    from radiology.study import Status

_HEART = r"heart(?:\s+size)?|cardiac\s+(?:silhouette|size|contours?|shadow)|cardiac"
_BOTH = (
    r"cardio-?mediastinal(?:\s+(?:silhouette|contours?))?|cardiac\s+and\s+mediastinal(?:\s+(?:silhouettes?|contours?))?"
)
_MEDIASTINUM = r"mediastin(?:um|al)(?:\s+(?:silhouette|contours?|width))?"
_ORGAN = re.compile(rf"\b(?:(?P<both>{_BOTH})|(?P<heart>{_HEART})|(?P<mediastinum>{_MEDIASTINUM}))\b")
_STATE = re.compile(
    r"\b(?:(?P<resolved>no\s+longer\s+(?:\w+\s+)?(?:enlarged|widened))"
    r"|(?P<normal>not\s+(?:\w+\s+)?(?:enlarged|widened|dilated)|(?:upper\s+limits?\s+of\s+)?normal|top\s+normal"
    r"|unremarkable|within\s+normal\s+limits)"
    r"|(?P<doubt>(?:borderline|possibly|probably|may\s+be|might\s+be|likely)\s+(?:\w+\s+)?(?:enlarged|widened))"
    r"|(?P<large>enlarged|widened|dilated))\b"
)
_STATUS_OF_STATE: dict[str, Status] = {
    "resolved": "absent",
    "normal": "absent",
    "doubt": "uncertain",
    "large": "present",
}
_CONCEPTS_OF_ORGAN = {
    "both": ("cardiomegaly", "enlarged_cardiomediastinum"),
    "heart": ("cardiomegaly",),
    "mediastinum": ("enlarged_cardiomediastinum",),
}

_CLEAR = re.compile(r"\b(?:(?P<side>left|right)\s+)?(?:lungs?|hemithorax)\b[^.;]{0,40}?\bclear\b(?!\s+of)")
_EXTUBATED = re.compile(r"\bextubat(?:ed|ion)\b")
_LIMITED = re.compile(r"\b(?:not|otherwise|except|aside|apart|other\s+than)\b")
_CLEAR_MEANS = ("consolidation", "pulmonary_edema", "lung_nodule", "lung_opacity")
_SHARP_ANGLES = re.compile(
    r"\bcostophrenic\s+(?:angles?|sulci|sulcus)\b[^.;,]{0,20}?\b(?:sharp|clear|preserved|normal)\b"
)


@dataclass(frozen=True, slots=True)
class OrganStatement:
    """What the state of an organ says: concept, status, where, and whether the finding went away."""

    concept: str
    status: Status
    span: Span
    side: str | None = None
    resolved: bool = False


def organ_statements(lowered: str, clause: Span, mentions: list[Span]) -> Iterator[OrganStatement]:
    """Statements about heart and mediastinum in one clause; an organ inside of a mention is not one."""
    for match in _ORGAN.finditer(lowered, *clause):
        start, end = match.span()
        if any(first < end and start < last for first, last in mentions):
            continue
        state = _STATE.search(lowered, end, clause[1]) or _STATE.search(lowered, max(clause[0], start - 12), start)
        if state is None or state.lastgroup is None:
            continue
        span = (min(start, state.start()), max(end, state.end()))
        for concept in _CONCEPTS_OF_ORGAN[match.lastgroup or ""]:
            if state.lastgroup == "large" and match.lastgroup == "both" and concept == "cardiomegaly":
                continue  # a wide silhouette is not yet a large heart
            yield OrganStatement(
                concept, _STATUS_OF_STATE[state.lastgroup], span, resolved=state.lastgroup == "resolved"
            )


def whole_sentence_statements(lowered: str, sentence: Span) -> Iterator[OrganStatement]:
    """Statements of one sentence that lungs or costophrenic angles are clear, or that the patient was extubated."""
    if "clear" in lowered[slice(*sentence)] and not _LIMITED.search(lowered, *sentence):
        for match in _CLEAR.finditer(lowered, *sentence):
            for concept in _CLEAR_MEANS:
                yield OrganStatement(concept, "absent", match.span(), side=match.group("side"))
    for match in _SHARP_ANGLES.finditer(lowered, *sentence):
        yield OrganStatement("pleural_effusion", "absent", match.span())
    for match in _EXTUBATED.finditer(lowered, *sentence):
        yield OrganStatement("endotracheal_tube", "absent", match.span(), resolved=True)
