"""Findings that a report states without their name: "heart size is normal", "the lungs are clear", "extubated"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from radiology.findings_text import Span
from radiology.findings_wordings import MASK

if TYPE_CHECKING:
    from radiology.study import Status

_CONTOUR = r"(?:silhouettes?|contours?|structures?|shadows?|borders?|sizes?|width|margins?)"
_HEART = (
    rf"heart(?:\s+(?:size|silhouette|shadow|contours?|{MASK}))?(?!\s+(?:failure|border|valve|rate|disease))"
    rf"|(?:cardiac|cardiopericardial|cardiovascular)\s+(?:(?:size|shadow|fluid|{MASK}|silhouettes?|contours?|borders?)\b\s*)+"
    r"|cardiac(?=\s+(?:is|are|and|,))"
)
_BOTH = (
    rf"cardio[\s-]?mediastinal(?:\s+{_CONTOUR})?"
    rf"|cardiac\s+and\s+mediastinal(?:\s+{_CONTOUR})*|mediastinal\s+and\s+cardiac(?:\s+{_CONTOUR})*"
    r"|(?:heart|heart\s+size|cardiac\s+(?:silhouette|size))(?:\s*,\s*|\s+and\s+|\s*/\s*)(?:the\s+)?"
    rf"mediastin(?:um|al)(?:\s+{_CONTOUR})*"
)
_MEDIASTINUM = rf"mediastin(?:um|al)(?:\s+(?:and\s+(?:hilar|hila)\s+)?{_CONTOUR})*"
_ORGAN = re.compile(rf"\b(?=[chm])(?:(?P<both>{_BOTH})|(?P<heart>{_HEART})|(?P<mediastinum>{_MEDIASTINUM}))\b")
_UPPER = (
    r"(?:at\s+|near\s+|within\s+)?(?:the\s+)?(?:upper\s+limits?(?:\s+of)?(?:\s+normal)?|upper\s+normal|top[\s-]+(?:of\s+)?normal"
    r"|high\s+normal)"
)
_ENLARGED = r"(?:enlarged|widened|dilated|large|big|cardiomegalic|increased(?:\s+in\s+size)?|enlargement|prominent)"
_STATE = re.compile(
    r"\b(?:(?P<resolved>no\s+longer\s+(?:\w+\s+)?(?:enlarged|widened))"
    rf"|(?P<borderline>{_UPPER}\s+(?:to|or)\s+(?:\w+\s+)?(?:borderline|{_ENLARGED})(?:\s+{_ENLARGED})?"
    rf"|borderline(?!\s+normal)(?:\s+(?:in\s+size|for|{_ENLARGED}))?)"
    rf"|(?P<doubt>(?:possibly|probably|may\s+be|might\s+be|could\s+be|likely|questionably)\s+(?:\w+\s+)?{_ENLARGED})"
    rf"|(?P<normal>not\s+(?:\w+\s+){{0,2}}(?:enlarged|widened|dilated|large|prominent)"
    r"|(?:no|without)\s+(?:\w+\s+){0,2}(?:enlargement|widening)"
    rf"|{_UPPER}|normal|unremarkable|within\s+(?:the\s+)?(?:\w+\s+)?(?:normal|limits)|negative|intact|borderline\s+normal|non-?enlarged)"
    rf"|(?P<large>{_ENLARGED}))\b"
)
_STATUS_OF_STATE: dict[str, Status] = {
    "resolved": "absent",
    "normal": "absent",
    "doubt": "uncertain",
    "borderline": "present",
    "large": "present",
}
_CONCEPTS_OF_ORGAN = {
    "both": ("cardiomegaly", "enlarged_cardiomediastinum"),
    "heart": ("cardiomegaly",),
    "mediastinum": ("enlarged_cardiomediastinum",),
}
_BEFORE = re.compile(
    r"\b(?:normal|non-?enlarged|enlarged|widened|borderline(?:\s+enlarged)?)(?:\s+(?:[\w-]+\s+){0,2}?|\s+)$"
)
_NEW_ORGAN = re.compile(
    r"\b(?:with|lungs?|pulmonary|vascul\w+|aorta|aortic|effusion|osseous|bony|hila\w*|trachea"
    r"|arter(?:y|ies)|atri(?:um|al)|ventric\w+)\b"
)

_CLEAR = re.compile(
    r"\b(?:(?P<side>left|right)\s+)?(?:lungs?|hemi-?thorax)\b[^.;]{0,40}?\bclear\b(?!\s+of)"
    r"|\bclear\s+(?:and\s+\w+\s+)?(?:(?P<side_after>left|right)\s+)?lungs?\b"
)
_EXTUBATED = re.compile(r"\bextubat(?:ed|ion)\b")
_LIMITED = re.compile(r"\b(?:not|otherwise|except|aside|apart|other\s+than|outside|cleared)\b")
_CLEAR_MEANS = ("consolidation", "pulmonary_edema", "lung_nodule", "lung_opacity")
_SHARP_ANGLES = re.compile(
    r"\bcosto[\s-]?phrenic\s+(?:angles?|sulci|sulcus|x{3,})\b[^.;,]{0,20}?\b(?:sharp|clear|preserved|normal)\b"
)
_NORMAL = (
    r"(?:normal|unremarkable|intact|clear|within\s+(?:the\s+)?normal\s+limits|preserved"
    r"|without\s+(?:acute\s+)?abnormalit(?:y|ies))"
)
#: One of these stands in every sentence that :func:`whole_sentence_statements` understands.
_HINT = re.compile(r"clear|phrenic|pleura|vascul|osseous|bony|skelet|bones|ribs|trachea|hil|abnormal|injur|extubat")
#: What a normal part of the chest denies: how it is called, and the findings.
_NORMAL_PARTS: tuple[tuple[tuple[str, ...], re.Pattern[str], tuple[str, ...]], ...] = (
    (
        ("pleura",),
        re.compile(rf"\bpleural\s+(?:spaces?|surfaces?)\b[^.;,]{{0,20}}?\b{_NORMAL}\b|\bpleura\b[^.;,]{{0,12}}?\b{_NORMAL}\b"),
        ("pleural_effusion", "pneumothorax"),
    ),
    (
        ("vascul",),
        re.compile(
            rf"\b(?:pulmonary\s+|lung\s+)?vascul(?:arity|ature)\b[^.;]{{0,25}}?\b{_NORMAL}\b"
            r"|\bvascul(?:arity|ature)\s+(?:is|are)\s+not\s+(?:\w+ly\s+)?(?:engorged|congested|prominent|increased)"
            r"|\bnormal\s+(?:pulmonary\s+)?vascul(?:arity|ature)\b"
        ),
        ("vascular_congestion",),
    ),
    (
        ("osseous", "bony", "skelet", "bones", "ribs"),
        re.compile(rf"\b(?:(?:osseous|bony|skeletal)\s+(?:structures?|thorax|skeleton|elements)|(?<!of\sthe\s)bones|ribs)\b[^.;,]{{0,40}}?\b{_NORMAL}\b"),
        ("fracture",),
    ),
    (("trachea",), re.compile(r"\btrachea\b[^.;,]{0,15}?\bmidline\b"), ("mediastinal_shift",)),
    (("hil",), re.compile(rf"\bhil(?:a|um|ar\s+contours?)\b[^.;,]{{0,15}}?\b{_NORMAL}\b"), ("hilar_enlargement",)),
    (
        ("abnormal", "bony f", "osseous f", "injur"),
        re.compile(r"\b(?:no|without|negative\s+for)\s+(?:\w+\s+){0,4}?(?:bony|osseous|bone|skeletal)\s+(?:abnormalit\w+|findings?|injur\w+)"),
        ("fracture",),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OrganStatement:
    """What the state of an organ says: concept, status, where, and whether the finding went away."""

    concept: str
    status: Status
    span: Span
    side: str | None = None
    resolved: bool = False
    hedge: str | None = None


def organ_statements(lowered: str, clause: Span, mentions: list[Span]) -> Iterator[OrganStatement]:
    """Statements about heart and mediastinum in one clause; an organ inside of a mention is not one."""
    if not any(lowered.find(organ, *clause) >= 0 for organ in ("heart", "card", "mediast")):
        return
    for match in _ORGAN.finditer(lowered, *clause):
        start, end = match.span()
        if any(first < end and start < last for first, last in mentions):
            continue
        found = _state_of_organ(lowered, clause, match)
        if found is None:
            continue
        state, place = found
        status = _STATUS_OF_STATE[state]
        span = (min(start, place[0]), max(end, place[1]))
        for concept in _CONCEPTS_OF_ORGAN[match.lastgroup or ""]:
            if status != "absent" and match.lastgroup == "both" and concept == "cardiomegaly":
                continue  # a wide silhouette is not yet a large heart
            hedge = lowered[slice(*place)].split()[0] if status == "uncertain" else None
            yield OrganStatement(concept, status, span, resolved=state == "resolved", hedge=hedge)


def _state_of_organ(lowered: str, clause: Span, organ: re.Match[str]) -> tuple[str, Span] | None:
    """The state that is told of an organ and where: the first behind it, unless one stands directly before it."""
    start, end = organ.span()
    before = _BEFORE.search(lowered, max(clause[0], start - 40), start)
    if before is not None and "no " not in lowered[clause[0] : before.start()][-12:]:
        text = before.group()
        if not _NEW_ORGAN.search(text):
            state = "borderline" if text.startswith("borderline") else "normal" if text.startswith("no") else "large"
            return state, before.span()
    match = _STATE.search(lowered, end, clause[1])
    if match is None or match.lastgroup is None:
        return None
    if match.lastgroup != "normal" and _NEW_ORGAN.search(lowered, end, match.start()):
        return None
    if match.lastgroup == "large" and _denied(lowered, end, match.start()):
        return "normal", match.span()
    return match.lastgroup, match.span()


def _denied(lowered: str, start: int, end: int) -> bool:
    return bool(re.search(r"\b(?:not|no|without)\b", lowered[start:end]))


def whole_sentence_statements(lowered: str, sentence: Span) -> Iterator[OrganStatement]:
    """Statements of one sentence that lungs, pleura, bones and other parts are normal, or that a tube was taken out."""
    if _HINT.search(lowered, *sentence) is None:
        return
    piece = lowered[slice(*sentence)]
    if "clear" in piece and not _LIMITED.search(lowered, *sentence):
        for match in _CLEAR.finditer(lowered, *sentence):
            for concept in _CLEAR_MEANS:
                yield OrganStatement(concept, "absent", match.span(), side=match["side"] or match["side_after"])
    if "phrenic" in piece:
        for match in _SHARP_ANGLES.finditer(lowered, *sentence):
            yield OrganStatement("pleural_effusion", "absent", match.span())
    for hints, pattern, concepts in _NORMAL_PARTS:
        if any(hint in piece for hint in hints) and (found := pattern.search(lowered, *sentence)):
            for concept in concepts:
                yield OrganStatement(concept, "absent", found.span())
    if "extubat" in piece:
        for match in _EXTUBATED.finditer(lowered, *sentence):
            yield OrganStatement("endotracheal_tube", "absent", match.span(), resolved=True)
