"""How far the words reach that decide what is said about a finding: negation, doubt, disappearance, change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from radiology.findings_cue_words import CHANGE_STARTS, CHANGES, CUE_STARTS, CUES
from radiology.findings_text import Span
from radiology.vocabulary import trie_body


def _any(starts: str, kinds: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    return rf"\b(?={starts})(?:" + "|".join(rf"(?P<{kind}>{'|'.join(ways)})" for kind, ways in kinds) + ")"


_CUE = re.compile(_any(trie_body(CUE_STARTS.split(",")), CUES) + r"(?!\w)")
_CHANGE = re.compile(_any(trie_body(CHANGE_STARTS.split(",")), CHANGES) + r"\b")

_DETERMINER = (
    r"(?:a|an|the|there|now|also|stable|unchanged|persistent|possible|possibly|probable|probably|likely|new|increased"
    r"|decreased|improved|worsened|worsening|heart(?!\s+failure)|lungs|is|are|chronic|old|healed|healing|multiple|several)"
)
_SIZE = (
    r"(?:small|tiny|trace|mild|moderate|large|severe|marked|minimal|bilateral|left|right|slight|stable|borderline"
    r"|bibasilar|bibasal|biapical|basilar|streaky|patchy|linear|scattered|degenerative|calcified|atherosclerotic|tortuous|prominent)"
)
_SCOPE_END = re.compile(
    rf",\s*(?:and\s+)?(?:with\b|{_DETERMINER}\b)|\band\s+{_DETERMINER}\b"
    r"|(?<!consistent )(?<!compatible )(?<!associated )\bwith\b|:"
    r"|(?P<cause>\b(?:given|because|due to|secondary to|status post|following|after|since|despite)\b)"
)
_SCOPE_END_OUTSIDE_LISTS = re.compile(rf"(?:,\s*(?:and\s+)?|\band\s+){_SIZE}\b")
_LIST_GOES_ON = re.compile(r"\bor\b")
_ALMOST_NOTHING = re.compile(r"\s*(?:\w+\s+)?")
#: What links two findings of which one is meant.
_LINK = re.compile(r"\s*(?:,\s*|(?:,\s*)?(?P<or>(?:and/)?or)\s+)(?:[\w-]+\s+){0,3}")
#: What begins a part of its own: "effusion and atelectasis, with pneumonia not excluded".
_NEW_PART = re.compile(r",\s+with\b")
_VERSUS_CHAIN = re.compile(r"\b(?:versus|vs\.?|or)\s+(?:[\w-]+\s+){0,4}$")

_DENIAL = re.compile(r"(?:no|not|without)\b")
#: Cue kinds that speak of what comes after them.
_FORWARD = frozenset({"skip", "same", "hedge", "negation", "resolved"})


@dataclass(frozen=True, slots=True)
class Cue:
    """A trigger phrase of one clause."""

    kind: str
    start: int
    end: int


def find_cues(lowered: str, clause: Span, mentions: Sequence[Span]) -> list[Cue]:
    """Status cues of a clause in order; words inside of a mention ("no acute … process") are none."""
    cues = []
    for match in _CUE.finditer(lowered, *clause):
        start, end = match.span()
        if not _overlaps(start, end, mentions):
            cues.append(Cue(match.lastgroup or "", start, end))
        elif (denial := _DENIAL.match(lowered, start)) and not _overlaps(*denial.span(), mentions):
            cues.append(Cue("negation", *denial.span()))  # "no fibrotic change" is not "no change"
    if lowered.startswith("?", clause[0]):  # "?pneumonia"
        cues.insert(0, Cue("hedge", clause[0], clause[0] + 1))
    elif lowered.endswith("?", 0, clause[1]):  # "small effusion?"
        cues.append(Cue("hedge_back", clause[1] - 1, clause[1]))
    return cues


def _overlaps(start: int, end: int, spans: Sequence[Span]) -> bool:
    return bool(spans) and any(first < end and start < last for first, last in spans)


def find_changes(lowered: str, clause: Span, cues: Sequence[Cue]) -> list[Cue]:
    """Change cues of a clause in order, ``kind`` being the change; among them "no change" and "partially resolved"."""
    changes = [
        Cue("unchanged" if cue.kind == "same" else "improved", cue.start, cue.end)
        for cue in cues
        if cue.kind in ("same", "partly") and not lowered.startswith("not only", cue.start)
    ]
    taken = [(cue.start, cue.end) for cue in changes]
    for match in _CHANGE.finditer(lowered, *clause):
        start, end = match.span()
        if not _overlaps(start, end, taken):
            changes.append(Cue(match.lastgroup or "", start, end))
    return sorted(changes, key=lambda cue: cue.start)


@dataclass(frozen=True, slots=True)
class Governed:
    """What governs a mention: negation, hedge, resolved, skip or nothing (``""``), and the cue that says so, if any."""

    kind: str = ""
    cue: Cue | None = None


_NOTHING = Governed()


def governing(lowered: str, clause: Span, cues: Sequence[Cue], mentions: Sequence[Span]) -> list[Governed]:
    """What decides the status of each mention."""
    states = [_NOTHING] * len(mentions)
    if cues:
        states = [
            state if state.kind in ("negation", "skip") else _behind(lowered, place, state, cues, mentions)
            for place, state in enumerate(_forward_states(lowered, clause, cues, mentions))
        ]
    _hedge_alternatives(lowered, mentions, states)
    return states


def _hedge_alternatives(lowered: str, mentions: Sequence[Span], states: list[Governed]) -> None:
    """Leave "atelectasis or pneumonia" in doubt where nothing else decides; also what a list names before."""
    linked = False
    for place in range(len(mentions) - 1, 0, -1):
        match = _LINK.fullmatch(lowered, mentions[place - 1][1], mentions[place][0])
        linked = match is not None and (match["or"] is not None or linked) and not states[place - 1].kind
        if linked and match is not None and states[place].kind in ("", "hedge"):
            cue = Cue("versus", *match.span("or")) if match["or"] else states[place].cue
            for one in (place - 1, place):
                if not states[one].kind:
                    states[one] = Governed("hedge", cue)


def _forward_states(lowered: str, clause: Span, cues: Sequence[Cue], mentions: Sequence[Span]) -> list[Governed]:
    """Walk the clause from left to right, keeping the cue in force; a scope end lets it go."""
    events: list[tuple[int, int, Cue | None]] = [(cue.start, 1, cue) for cue in cues if cue.kind in _FORWARD]
    if not events:
        return [_NOTHING] * len(mentions)
    events += [(start, 2, None) for start, _ in mentions]
    events += [(match.start(), -1 if match["cause"] else 0, None) for match in _SCOPE_END.finditer(lowered, *clause)]
    for match in _SCOPE_END_OUTSIDE_LISTS.finditer(lowered, *clause):
        if not _LIST_GOES_ON.search(lowered, match.end(), clause[1]):
            events.append((match.start(), -2, None))
    states: list[Governed] = []
    state = _NOTHING
    for _, what, cue in sorted(events, key=lambda event: event[:2]):
        if what == 2:
            states.append(state)
        elif cue is None:
            if not ((what == -1 and state.kind == "hedge") or (what == -2 and state.kind == "resolved")):
                state = _NOTHING  # but "may be due to edema" leaves it in doubt, a removal takes a whole list away
        elif not (cue.kind == "hedge" and state.kind == "negation"):  # "no opacity to suggest pneumonia" denies both
            state = _NOTHING if cue.kind == "same" else Governed(cue.kind, cue)
    return states


def _behind(lowered: str, place: int, ahead: Governed, cues: Sequence[Cue], mentions: Sequence[Span]) -> Governed:
    """The state of a mention once cues that speak of what stands before them are heard."""
    start, end = mentions[place]
    for cue in cues:
        if cue.start < end:
            if cue.kind == "versus" and _VERSUS_CHAIN.search(lowered, cue.start, start):
                ahead = Governed("hedge", cue)
            continue
        following = next((first for first, _ in mentions if first >= end), len(lowered))
        if cue.kind == "versus":
            if cue.start < following:
                return Governed("hedge", cue)
        elif cue.kind == "normal_back":  # "vascular markings are normal", and not "cardiomegaly, lungs are normal"
            if _ALMOST_NOTHING.fullmatch(lowered, end, cue.start):
                return Governed("negation", cue)
        elif cue.kind.endswith("_back"):
            if not _NEW_PART.search(lowered, end, cue.start):
                return Governed(cue.kind.removesuffix("_back"), cue)
        elif cue.kind == "resolved" and not any(first >= cue.end for first, _ in mentions):
            return Governed(cue.kind, cue)
    return ahead
