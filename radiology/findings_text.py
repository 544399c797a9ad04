"""Cutting a report into sentences and a sentence into clauses, keeping character positions."""

from __future__ import annotations

import re

#: Start and end (exclusive) of a piece of text.
Span = tuple[int, int]

#: What ends a sentence: a full stop, with the number of a list entry behind it if there is one; the number of an entry
#: without a stop before it; a blank line; a line that begins an entry. The first character tells most places apart.
_SENTENCE_END = re.compile(
    r"[.!?\s<](?:(?<=[.!?])(?<!\bdr.)(?<!\bmr.)(?<!\bvs.)(?<!\be\.g.)(?<!\bi\.e.)"
    r"(?:[.!?]*(?=\s|$)(?P<entry>\s+\d{1,2}[.)](?=\s))?|(?<!\?)[.!]*(?=[a-z]{2,}[\s,]))"
    r"|(?<=\s)(?:(?P<bare>\s*\d{1,2}[.)](?=\s+[a-z]))|(?<=\n)(?:\s*\n|(?=\s*(?:[-*•]|\d{1,2}[.)])\s)))"
    r"|(?<=<)br\s*/?>)"
)
_ENTRY = re.compile(r"\s*(?:\d{1,2}[.)]|[-*•])(?=\s)")
_HARD_BREAK = re.compile(
    r";|,?\s+(?=[abehnowy])(?:but|however|although|though|whereas|while|except|yet|nevertheless|aside from"
    r"|apart from|other than|with the exception of)\b|\s-{1,2}\s"
)
_SOFT_BREAK = re.compile(r",\s*(?:and\s+)?|\s+and\s+(?!(?:the\s+)?mediastin)")
_VERB = re.compile(
    r"\b(?=[acdehilmoprstw])(?:is|are|was|were|has|have|had|remains?|appears?|persists?|may|might|could|would|should"
    r"|can(?:not|'t)?|shows?|demonstrates?|there|(?<!normal\s)limits?|obscures?|ends?|extends?|courses?|terminates?"
    r"|projects?|overlies)\b"
)
_NEGATED_START = re.compile(r"no\b|without\b")
_NEW_SUBJECT = re.compile(r"(?:the|there|a|an|heart|lungs?)\b")
_NO_SUBJECT = re.compile(
    r"(?:or|nor|which|that|is|are|was|were|has|have|remains?|appears?|persists?|may|could|should|would"
    r"|can|now|ends?|extends?|courses?|terminates?|projects?|overlies|(?<!normal\s)limits?|obscures?|shows?)\b"
)
#: A list of organs whose predicate is still to come ("heart, mediastinum and lungs are normal").
_ONLY_ORGANS = re.compile(
    r"\s*(?:(?:the|and|heart|cardiac|size|silhouette|lungs?|mediastin(?:um|al)|pleura|hila|pulmonary|vasculature|vascularity"
    r"|bones|bony|structures|contours?)[\s,]*)+"
)
#: What stands before a comma of a list of adjectives ("no displaced, acute fracture is seen").
_ADJECTIVE = re.compile(
    r"(?:acute|displaced|focal|large|definite|suspicious|obvious|significant|visible|new|lobar|active|gross|overt|small"
    r"|other)\s*$"
)
_GOES_ON = re.compile(r"\b(?:or|nor)\b")

#: Headings of what the radiologist was told or did; what stands below them is not seen in the image.
_HEADING = re.compile(
    r"(?:(?:(?<=\n)|(?<=\A)|(?<=[.:]\s)|(?<=[.:]\s\s))[ \t]*"
    r"(?P<told>(?:clinical\s+)?(?:indications?|history|information|data|statement|question)|reasons?\s+for\s+(?:the\s+)?"
    r"(?:exam(?:ination)?|study|test)|comparisons?|techniques?|exam(?:ination)?|procedure|views?|past\s+medical\s+history"
    r"|recommendations?|signs?\s+and\s+symptoms|admitting\s+diagnosis)"
    r"|\b(?P<seen>findings?(?:\s+and\s+impression)?|impressions?|conclusions?|results?|reports?|opinion|summary))\s*:"
)
_TOLD_END = re.compile(r"\.(?=\s|$)|\n\s*\n")


def told_spans(lowered: str) -> list[Span]:
    """Spans of the sections that say what was asked, done or compared (indication, technique …), heading and all.

    A section goes on to the next heading; the last of a report has one sentence, for what follows may be findings.
    """
    headings = list(_HEADING.finditer(lowered)) if ":" in lowered else []
    spans = []
    for place, heading in enumerate(headings):
        if heading["told"] is None:
            continue
        if place + 1 < len(headings):
            end = headings[place + 1].start()
        else:
            stop = _TOLD_END.search(lowered, heading.end())
            end = stop.start() if stop else len(lowered)
        spans.append((heading.start(), end))
    return spans


def lower_case(text: str) -> str:
    """Lower case without any change of length, so that positions stay valid."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def sentence_spans(lowered: str) -> list[Span]:
    """Spans of the sentences, without the space and the list number around them.

    A full stop ends one, a blank line and an entry of a list too, the end of a line not.
    """
    spans: list[Span] = []
    entry = _ENTRY.match(lowered)
    start = entry.end() if entry else 0
    for match in _SENTENCE_END.finditer(lowered, start):
        end = match.end()
        number = match.start("entry") if match["entry"] else match.start() if match["bare"] else -1
        _append_stripped(spans, lowered, start, number if number >= 0 else end)
        entry = _ENTRY.match(lowered, end)
        start = entry.end() if entry else end
    _append_stripped(spans, lowered, start, len(lowered))
    return spans


def clause_spans(lowered: str, span: Span) -> list[Span]:
    """Spans of the clauses of a sentence.

    A clause is the reach of a negation or of a shared predicate: "the heart is large and the lungs are clear" has two,
    "no effusion, edema or pneumothorax is seen" has one.
    """
    spans: list[Span] = []
    start = span[0]
    for match in _HARD_BREAK.finditer(lowered, *span):
        spans.extend(_soft_clauses(lowered, start, match.start()))
        start = match.end()
    spans.extend(_soft_clauses(lowered, start, span[1]))
    return spans


def _soft_clauses(lowered: str, start: int, end: int) -> list[Span]:
    if lowered.find(",", start, end) < 0 and lowered.find("and", start, end) < 0:
        return [(start, end)]
    breaks = list(_SOFT_BREAK.finditer(lowered, start, end))
    spans: list[Span] = []
    for place, match in enumerate(breaks):
        piece_end = breaks[place + 1].start() if place + 1 < len(breaks) else end
        right = lowered[match.end() : piece_end]
        if _starts_clause(lowered[start : match.start()], right, joined_by_and="and" in match.group()):
            spans.append((start, match.start()))
            start = match.end()
    spans.append((start, end))
    return spans


def _starts_clause(left: str, right: str, joined_by_and: bool) -> bool:
    """Whether ``right`` says something of its own instead of going on with the list or predicate of ``left``."""
    if _NO_SUBJECT.match(right) or _ONLY_ORGANS.fullmatch(left):
        return False
    if _NEGATED_START.match(right):
        return True
    if not _VERB.search(right):
        return False
    if _VERB.search(left) or _NEW_SUBJECT.match(right):
        return True
    return (
        not joined_by_and
        and bool(_NEGATED_START.match(left.lstrip()))
        and not (_GOES_ON.search(right) or _ADJECTIVE.search(left))
    )


def _append_stripped(spans: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    right = len(piece.rstrip())
    if right > left:
        spans.append((start + left, start + right))
