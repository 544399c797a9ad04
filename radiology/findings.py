"""Reading findings from the text of a chest radiograph report, by rules.

For every finding that a report names: whether it is present, absent or uncertain, on which side, where, how much, how
it changed and, for devices, how it is placed. Rules look at one sentence at a time: mentions come from the vocabulary,
negation and doubt from trigger phrases with a scope (see ``findings_cues``), "the heart is normal" from the state of
organs (see ``findings_anchors``). No model, no network; more than a thousand reports a second on one core.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from radiology.findings_anchors import OrganStatement, organ_statements, whole_sentence_statements
from radiology.findings_attributes import read_location, read_placement, read_severity, read_side
from radiology.findings_cues import Cue, Governed, find_changes, find_cues, governing
from radiology.findings_patterns import concepts_of_match, finding_pattern
from radiology.findings_text import Span, clause_spans, lower_case, sentence_spans, told_spans
from radiology.vocabulary import CONCEPTS, Concept

if TYPE_CHECKING:
    from radiology.study import Status

#: From weak to strong: where a report says several things of one finding, the strongest counts.
STATUS_RANK: dict[str, int] = {"absent": 0, "uncertain": 1, "present": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding named in a report.

    ``concept`` is a key of the vocabulary. ``side`` is left, right, bilateral or ``None`` where the text does not say.
    ``change`` is new, worse, improved, unchanged or resolved (then the status is absent); ``placement`` is placed or
    misplaced, for devices. ``span`` is the place (start, end) of the words in the report. ``hedge`` is the word of doubt
    where the status is uncertain ("may", "probable", "versus").
    """

    concept: str
    status: Status
    side: str | None
    location: str | None
    severity: str | None
    change: str | None
    placement: str | None
    sentence: str
    span: Span
    hedge: str | None = None


_STATUS_OF_KIND: dict[str, Status] = {"negation": "absent", "resolved": "absent", "hedge": "uncertain"}
#: Sentences that are kept as they were read. Reports repeat themselves: most sentences of a collection come again.
_KEPT_SENTENCES = 8192


_BONE = re.compile(
    r"\b(?:ribs?|osseous|bony|bones?|humer\w+|vertebra\w*|clavic\w+|scapul\w+|stern\w+|spine|skeletal)\b"
)


@dataclass(frozen=True, slots=True)
class _Mention:
    concept: Concept
    span: Span


def read_report(text: str) -> list[Finding]:
    """All findings of a report in the order of the text; an empty text has none.

    What stands below a heading such as ``INDICATION:`` or ``COMPARISON:`` was told or done and is left out.
    """
    lowered = lower_case(text)
    told = told_spans(lowered)
    findings: list[Finding] = []
    for start, end in sentence_spans(lowered):
        words = text[start:end]
        for found in _read_sentence(lowered[start:end]):
            first, last = found.span[0] + start, found.span[1] + start
            if not any(begin <= first < stop for begin, stop in told):
                findings.append(_placed(found, words, (first, last)))
    return findings


def _placed(found: Finding, words: str, span: Span) -> Finding:
    return Finding(
        found.concept,
        found.status,
        found.side,
        found.location,
        found.severity,
        found.change,
        found.placement,
        words,
        span,
        found.hedge,
    )


def statuses(findings: Iterable[Finding]) -> dict[str, str]:
    """Status per concept, and per ``concept:left`` / ``concept:right`` where a side is told.

    Where a report says several things of one finding, present wins over uncertain and uncertain over absent. A finding
    on one side counts for the concept, an absent side only for that side unless nothing else is said.
    """
    table: dict[str, str] = {}
    for finding in findings:
        for key in (finding.concept, *(f"{finding.concept}:{side}" for side in sides_of(finding))):
            if STATUS_RANK[finding.status] >= STATUS_RANK[table.get(key, "absent")]:
                table[key] = finding.status
    return table


def sides_of(finding: Finding) -> tuple[str, ...]:
    """The sides that a finding is on: none, one or both."""
    if finding.side == "bilateral":
        return ("left", "right")
    return (finding.side,) if finding.side else ()


@lru_cache(maxsize=_KEPT_SENTENCES)
def _read_sentence(sentence: str) -> tuple[Finding, ...]:
    """The findings of one sentence in lower case; their spans count from its start."""
    return tuple(sorted(_findings_of_sentence(sentence), key=lambda finding: finding.span))


def _findings_of_sentence(sentence: str) -> Iterator[Finding]:
    whole = (0, len(sentence))
    for statement in whole_sentence_statements(sentence, whole):
        yield _finding_of_statement(sentence, whole, statement, None)
    pending: Finding | None = None  # held back: a clause without a finding may still tell how it changed
    for clause in clause_spans(sentence, whole):
        found = list(_read_clause(sentence, clause))
        if not found:
            pending = _with_later_change(pending, sentence, clause)
            continue
        if pending is not None:
            yield pending
        *done, pending = found
        yield from done
    if pending is not None:
        yield pending


def _read_clause(lowered: str, clause: Span) -> Iterator[Finding]:
    blocked: list[Span] = []
    mentions: list[_Mention] = []
    overall: list[Span] = []
    for match in finding_pattern().finditer(lowered, *clause):
        span = match.span()
        blocked.append(span)
        for concept in concepts_of_match(match):
            if concept.kind == "overall":
                overall.append(span)
            else:
                mentions.append(_Mention(_by_place(concept, lowered, clause), span))
    for span in overall:
        yield _overall_finding(span)
    cues = find_cues(lowered, clause, [span for span in blocked if span not in overall])
    changes = find_changes(lowered, clause, cues)
    if mentions:
        states = governing(lowered, clause, cues, [mention.span for mention in mentions])
        for place, state in enumerate(states):
            if state.kind != "skip":
                yield _finding_of_mention(lowered, clause, mentions, place, state, changes)
    for statement in organ_statements(lowered, clause, blocked):
        yield _finding_of_statement(lowered, clause, statement, changes[-1].kind if changes else None)


def _by_place(concept: Concept, lowered: str, clause: Span) -> Concept:
    """A lesion of which a bone is named is one of the bone."""
    if concept.key == "lung_lesion" and _BONE.search(lowered, *clause):
        return CONCEPTS["bone_lesion"]
    return concept


def _overall_finding(span: Span) -> Finding:
    return Finding("no_finding", "present", None, None, None, None, None, "", span)


def _finding_of_mention(
    lowered: str, clause: Span, mentions: list[_Mention], place: int, state: Governed, changes: Sequence[Cue]
) -> Finding:
    mention = mentions[place]
    status = _STATUS_OF_KIND.get(state.kind, "present")
    before, after = _windows(lowered, clause, mentions, place)
    concept = mention.concept
    device = concept.kind == "device"
    change = _change_of(lowered, mentions, place, changes)
    if status == "absent":
        change = "resolved" if state.kind == "resolved" else None
    return Finding(
        concept=concept.key,
        status=status,
        side=read_side(lowered, before, after) if concept.sided else None,
        location=None if device or not concept.sided else read_location(lowered, before, after),
        severity=None if device else read_severity(lowered, before, after),
        change=change,
        placement=read_placement(lowered, clause, concept.key == "nasogastric_tube")
        if device and status != "absent"
        else None,
        sentence="",
        span=mention.span,
        hedge=lowered[state.cue.start : state.cue.end].strip(" ,(") if status == "uncertain" and state.cue else None,
    )


def _finding_of_statement(lowered: str, clause: Span, statement: OrganStatement, change: str | None) -> Finding:
    absent = statement.status == "absent"
    if absent:
        change = "resolved" if statement.resolved else None
    return Finding(
        concept=statement.concept,
        status=statement.status,
        side=statement.side if CONCEPTS[statement.concept].sided else None,
        location=None,
        severity=None if absent else read_severity(lowered, (clause[0], statement.span[1]), (clause[1], clause[1])),
        change=change,
        placement=None,
        sentence="",
        span=statement.span,
        hedge=statement.hedge,
    )


def _windows(lowered: str, clause: Span, mentions: list[_Mention], place: int) -> tuple[Span, Span]:
    """The words that describe a mention: its own span with what stands before, and what follows up to the next one."""
    start, end = mentions[place].span
    first = clause[0]
    if place > 0 and mentions[place - 1].span[1] <= start:
        first = mentions[place - 1].span[1]
        first += max(0, lowered[first:start].rfind(","))
    last = clause[1]
    following = next((mention.span[0] for mention in mentions[place + 1 :] if mention.span[0] >= end), None)
    if following is not None:
        last = following
        joints = [at for joint in (",", " and ", " or ", " with ") if (at := lowered.find(joint, end, last)) >= 0]
        last = min(joints) if joints else end
    return (first, end), (end, last)


def _change_of(lowered: str, mentions: list[_Mention], place: int, changes: Sequence[Cue]) -> str | None:
    """The change that belongs to a mention.

    In order: a word of its own before it, one directly after it, one in the predicate that closes the clause, one that
    opens the clause for all ("no change in", "increase in").
    """
    start, end = mentions[place].span
    first = mentions[place - 1].span[1] if place > 0 else 0
    own = [cue for cue in changes if first <= cue.start < start and _belongs_to_next(lowered, first, cue, place)]
    if own:
        return own[-1].kind
    following = mentions[place + 1].span[0] if place + 1 < len(mentions) else len(lowered)
    direct = [cue for cue in changes if end <= cue.start < following]
    if direct and (place + 1 == len(mentions) or _joint_between(lowered, direct[0].end, following)):
        return direct[0].kind
    closing = [cue for cue in changes if cue.start >= mentions[-1].span[1]]
    if closing:
        return closing[0].kind
    opening = [cue for cue in changes if cue.end <= mentions[0].span[0] and _opens_for_all(lowered, cue)]
    return opening[-1].kind if opening else None


def _belongs_to_next(lowered: str, previous_end: int, cue: Cue, place: int) -> bool:
    """Whether a change word between two mentions describes the second: it follows the joint that ends the first."""
    return place == 0 or _joint_between(lowered, previous_end, cue.start + 1)


def _joint_between(lowered: str, start: int, end: int) -> bool:
    between = lowered[start:end]
    return "," in between or " and " in between or " or " in between or " with " in between


def _opens_for_all(lowered: str, cue: Cue) -> bool:
    return lowered[cue.start : cue.end + 3].endswith((" in", " of"))


def _with_later_change(pending: Finding | None, lowered: str, clause: Span) -> Finding | None:
    if pending is None or pending.change is not None or pending.status == "absent":
        return pending
    changes = find_changes(lowered, clause, find_cues(lowered, clause, ()))
    if not changes:
        return pending
    return replace(pending, change=changes[0].kind)
