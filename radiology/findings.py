"""Reading findings from the text of a chest radiograph report, by rules.

For every finding that a report names: whether it is present, absent or uncertain, on which side, where, how much, how
it changed and, for devices, how it is placed. Rules look at one sentence at a time: mentions come from the vocabulary,
negation and doubt from trigger phrases with a scope (see ``findings_cues``), "the heart is normal" from the state of
organs (see ``findings_anchors``). No model, no network. English only. How well this reads, and what it misses, is in
``docs/reading-reports.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from radiology.findings_anchors import OrganStatement, organ_statements, whole_sentence_statements
from radiology.findings_attributes import Word, describing_words, read_placement, told
from radiology.findings_cues import Cue, Governed, find_changes, find_cues, governing
from radiology.findings_mentions import Mention, change_of, find_mentions, names_bone, side_of, windows
from radiology.findings_text import Span, clause_spans, lower_case, sentence_spans, told_spans
from radiology.vocabulary import CONCEPTS

if TYPE_CHECKING:
    from radiology.study import Status

#: From weak to strong: where a report says several things of one finding, the strongest counts.
STATUS_RANK: dict[str, int] = {"absent": 0, "uncertain": 1, "present": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding named in a report.

    ``concept`` is a key of the vocabulary. ``side`` is left, right, bilateral or ``None`` where the text does not say.
    ``change`` is new, worse, improved, unchanged or resolved (then the status is absent); ``placement`` is placed or
    misplaced, for devices. ``sentence`` is the sentence as written, ``span`` the place (start, end) of the words in the
    report. ``hedge`` is the word of doubt where the status is uncertain ("may", "probable", "versus").
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
_KEPT_SENTENCES = 16384


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
    mentions, blocked = find_mentions(lowered, clause)
    overall = [mention.span for mention in mentions if mention.concept.kind == "overall"]
    if overall:
        mentions = [mention for mention in mentions if mention.concept.kind != "overall"]
    for span in overall:
        yield _overall_finding(lowered, clause, span)
    cues = find_cues(lowered, clause, [span for span in blocked if span not in overall])
    changes = find_changes(lowered, clause, cues)
    if mentions:
        found = None
        words = describing_words(lowered, clause)
        for place, state in enumerate(governing(lowered, clause, cues, [mention.span for mention in mentions])):
            if state.kind != "skip":
                before, found = found, _finding_of_mention(lowered, clause, words, mentions, place, state, changes)
                if before is None or not _same_again(lowered, before, found):
                    yield found
    for statement in organ_statements(lowered, clause, blocked):
        yield _finding_of_statement(lowered, clause, statement, changes[-1].kind if changes else None)


def _same_again(lowered: str, before: Finding, found: Finding) -> bool:
    """Whether two mentions name one thing twice: "AICD/pacemaker", "atherosclerotic calcification of the aorta"."""
    between = lowered[before.span[1] : found.span[0]]
    same = (before.concept, before.status) == (found.concept, found.status)
    return same and found.side in (None, before.side) and between.strip(" /-(") in ("", "of the")


def _overall_finding(lowered: str, clause: Span, span: Span) -> Finding:
    if names_bone(lowered, clause[0], span[1]):  # "the bony structures show no acute abnormality"
        return Finding("fracture", "absent", None, None, None, None, None, "", span)
    return Finding("no_finding", "present", None, None, None, None, None, "", span)


def _finding_of_mention(
    lowered: str,
    clause: Span,
    words: Sequence[Word],
    mentions: Sequence[Mention],
    place: int,
    state: Governed,
    changes: Sequence[Cue],
) -> Finding:
    mention = mentions[place]
    status = _STATUS_OF_KIND.get(state.kind, "present")
    before, after = windows(lowered, clause, mentions, place)
    concept = mention.concept
    device = concept.kind == "device"
    change = change_of(lowered, mentions, place, changes)
    if status == "absent":
        change = "resolved" if state.kind == "resolved" else None
    return Finding(
        concept=concept.key,
        status=status,
        side=side_of(lowered, clause, words, mentions, place),
        location=None if device or not concept.sided else told(words, "location", before, after),
        severity=None if device else told(words, "severity", before, after),
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
        severity=None if absent else _degree(lowered, clause, statement),
        change=change,
        placement=None,
        sentence="",
        span=statement.span,
        hedge=statement.hedge,
    )


def _degree(lowered: str, clause: Span, statement: OrganStatement) -> str | None:
    words = describing_words(lowered, (clause[0], statement.span[1]))
    degree = told(words, "severity", (clause[0], clause[1]), (clause[1], clause[1]))
    return None if degree == "large" else degree  # "the heart is large" tells no degree


def _with_later_change(pending: Finding | None, lowered: str, clause: Span) -> Finding | None:
    if pending is None or pending.change is not None or pending.status == "absent":
        return pending
    changes = find_changes(lowered, clause, find_cues(lowered, clause, ()))
    if not changes:
        return pending
    return replace(pending, change=changes[0].kind)
