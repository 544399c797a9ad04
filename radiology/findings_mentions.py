"""Mentions of findings in one clause, and which of the words around them belong to which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from radiology.findings_attributes import Word, told
from radiology.findings_cues import Cue
from radiology.findings_patterns import concepts_of_match, finding_pattern
from radiology.findings_text import Span
from radiology.vocabulary import CONCEPTS, Concept

_BONE = re.compile(
    r"\b(?:ribs?|osseous|bony|bones?|humer\w+|vertebra\w*|clavic\w+|scapul\w+|stern\w+|spine|skeletal)\b"
)
#: How far before and after "lesion" a bone may be named to be meant, in characters.
_BONE_BEFORE, _BONE_AFTER = 30, 40
_LUNG = re.compile(r"\b(?:lungs?|pulmonary|lobes?|hil\w+)\b")
#: "Devices and lines:" is a heading; "effusion:" is a finding, with what follows.
_HEADING = re.compile(r"[^.;:]*(?:/|\band\b|\bdevices|\bchanges|\btubes|\blines)[^.;:]*:")
_PLACE = re.compile(r"\s+(?:is\s+seen\s+|seen\s+)?(?:in|at|on|of|within|along|over(?:lying)?)\s")
_ATTENDING = re.compile(
    r"[\s,]*(?:and|with)\s+(?:\w+\s+)?(?:associated|adjacent|underlying|overlying|accompanying|subjacent)\s*"
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A concept that is named, and where."""

    concept: Concept
    span: Span


def find_mentions(lowered: str, clause: Span) -> tuple[list[Mention], list[Span]]:
    """What a clause names, and the spans of the words spoken for, those that only look like a finding too."""
    blocked: list[Span] = []
    mentions: list[Mention] = []
    heading = _HEADING.match(lowered, *clause) if ":" in lowered else None
    first = heading.end() if heading else clause[0]
    for match in finding_pattern().finditer(lowered, first, clause[1]):
        blocked.append(match.span())
        mentions += [Mention(_by_place(concept, lowered, match), match.span()) for concept in concepts_of_match(match)]
    return mentions, blocked


def _by_place(concept: Concept, lowered: str, match: re.Match[str]) -> Concept:
    """A lesion next to which a bone is named, and no lung, is one of the bone."""
    if concept.key == "lung_lesion":
        start, end = max(0, match.start() - _BONE_BEFORE), match.end() + _BONE_AFTER
        if names_bone(lowered, start, end) and not _LUNG.search(lowered, start, end):
            return CONCEPTS["bone_lesion"]
    return concept


def names_bone(lowered: str, start: int, end: int) -> bool:
    """Whether a piece of text names a bone."""
    return _BONE.search(lowered, start, end) is not None


def side_of(lowered: str, clause: Span, words: Sequence[Word], mentions: Sequence[Mention], place: int) -> str | None:
    """The side of a mention; what goes with another finding ("with adjacent atelectasis") is where that one is."""
    if not mentions[place].concept.sided:
        return None
    side = told(words, "side", *windows(lowered, clause, mentions, place))
    if side is None and place > 0:
        start = mentions[place].span[0]
        attending = _ATTENDING.fullmatch(lowered, mentions[place - 1].span[1], start)
        if attending or lowered.startswith("compressive", start):
            return side_of(lowered, clause, words, mentions, place - 1)
    return side


def windows(lowered: str, clause: Span, mentions: Sequence[Mention], place: int) -> tuple[Span, Span]:
    """The words that describe a mention: its own span with what stands before, and what follows up to the next one."""
    start, end = mentions[place].span
    first = clause[0]
    if place > 0 and mentions[place - 1].span[1] <= start:
        first = mentions[place - 1].span[1]
        first += max(0, lowered.rfind(",", first, start) - first, lowered.rfind(" with ", first, start) - first)
    last = clause[1]
    following = next((mention.span[0] for mention in mentions[place + 1 :] if mention.span[0] >= end), None)
    if following is not None:
        last = following
        joints = [at for joint in (",", " and ", " or ", " with ") if (at := lowered.find(joint, end, last)) >= 0]
        last = min(joints) if joints else following if _PLACE.match(lowered, end, following) else end
    return (first, end), (end, last)


def change_of(lowered: str, mentions: Sequence[Mention], place: int, changes: Sequence[Cue]) -> str | None:
    """The change that belongs to a mention.

    In order: a word of its own before it, one directly after it, one in the predicate that closes the clause, one that
    opens the clause for all ("no change in", "increase in").
    """
    if not changes:
        return None
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
