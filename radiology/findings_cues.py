"""Words that decide what is said about a finding: negation, doubt, disappearance, change; and how far they reach.

The trigger-and-scope idea is that of NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009); the lists are for
chest radiograph reports.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from radiology.findings_text import Span

_BE = r"(?:is|are|was|were|has been|have been|had been)"
_HAVE = r"(?:has|have|had)"
_PARTLY = r"(?:partial(?:ly)?|near(?:ly)?|almost|mostly|incomplete(?:ly)?|largely)(?:[\s-]+\w+ly)?[\s-]+"
_SEEN = r"(?:seen|identified|visuali[sz]ed|present|evident|demonstrated|appreciated|detected|noted|apparent|found)"

#: Kinds in order of precedence where two could start at the same place.
_CUES: tuple[tuple[str, str], ...] = (
    ("skip", r"history of|(?:evaluate|evaluation|assess|assessment|evaluated|assessed) for"),
    (
        "same",
        r"(?:no|without|not)\s+(?:\w+\s+){0,2}changes?\b(?:\s+(?:in|of))?|not\s+(?:\w+ly\s+)?changed"
        r"|no\s+(?:\w+\s+){0,2}(?:increase|decrease|worsening|progression|improvement|enlargement)\s+(?:in|of)(?=\s+the\b)",
    ),
    ("partly", rf"{_PARTLY}(?:resolved|cleared|resolution|clearing)"),
    (
        "hedge_back",
        r"(?:cannot|can not|can't|could not)\s+be\s+(?:\w+\s+)?(?:excluded|ruled out)|not\s+(?:\w+\s+)?excluded"
        rf"|{_BE}\s+(?:possible|suspected|probable|questioned|questionable)(?=\s*(?:[.,;]|$|(?:and|in|on|at|but)\b))"
        rf"|{_BE}\s+not\s+(?:well|clearly|fully|definitely|adequately)\s+{_SEEN}",
    ),
    (
        "resolved_back",
        rf"(?:{_HAVE}|{_BE})\s+(?!{_PARTLY})(?:\w+\s+)?(?:resolved|cleared|disappeared|removed)",
    ),
    ("resolved", r"no longer|resolution of|removal of|resolved|removed"),
    (
        "negation_back",
        rf"(?:{_BE}\s+)?not\s+(?:\w+\s+)?{_SEEN}|{_BE}\s+(?:absent|unlikely|negative)|{_HAVE}\s+been\s+excluded",
    ),
    ("versus", r"versus|vs\.?"),
    (
        "hedge",
        r"(?:cannot|can not|can't|could not|to)\s+exclude|possib(?:le|ly)|probabl[ey]|likely|suspected"
        r"|suspicio(?:us|n)\s+(?:for|of)|concern(?:ing)?\s+for|worrisome\s+for|question(?:able|\s+of)|may|might|could"
        r"|suggest(?:s|ive|ing|ed)?|equivocal|potential(?:ly)?|presum(?:ed|ably)|perhaps|consider|borderline",
    ),
    ("negation", r"no|without|negative\s+for|free\s+of|clear\s+of|absence\s+of|nor|neither|not|rather\s+than|unlikely"),
)
_CUE = re.compile("|".join(rf"(?P<{kind}>\b(?:{body})(?!\w))" for kind, body in _CUES))

_CHANGES: tuple[tuple[str, str], ...] = (
    ("unchanged", r"unchanged|stable|similar|persist(?:s|ent|ing)?|again|remain(?:s|ing)?|as\s+before|still|constant"),
    (
        "new",
        r"new(?:ly)?|interval\s+development|has\s+developed|have\s+developed|interval\s+(?:appearance|placement|insertion)",
    ),
    (
        "worse",
        r"increas(?:es?|ed|ing)|wors(?:e|ened|ening)|larger|bigger|progress(?:ed|ion|ive)|enlarging"
        r"|more\s+(?:prominent|extensive|conspicuous|pronounced)",
    ),
    (
        "improved",
        r"decreas(?:es?|ed|ing)|improv(?:ed|ing|ement)|smaller|less(?:ened)?(?!\s+likely)|reduced|resolving|diminished"
        r"|clearing|regress(?:ed|ion)",
    ),
)
_CHANGE = re.compile("|".join(rf"(?P<{kind}>\b(?:{body})\b)" for kind, body in _CHANGES))

_DETERMINER = (
    r"(?:a|an|the|there|now|also|stable|unchanged|persistent|possible|possibly|probable|likely|new|increased|decreased"
    r"|improved|worsened|worsening)"
)
_SIZE = r"(?:small|tiny|trace|mild|moderate|large|severe|marked|minimal|bilateral|left|right)"
_SCOPE_END = re.compile(
    rf",\s*(?:and\s+)?(?:with\b|{_DETERMINER}\b)|\band\s+{_DETERMINER}\b"
    r"|(?<!consistent )(?<!compatible )(?<!associated )\bwith\b"
)
_SCOPE_END_OUTSIDE_LISTS = re.compile(rf"(?:,\s*(?:and\s+)?|\band\s+){_SIZE}\b")
_LIST_GOES_ON = re.compile(r"\bor\b")

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
        if not any(first < end and start < last for first, last in mentions):
            cues.append(Cue(match.lastgroup or "", start, end))
    return cues


def find_changes(lowered: str, clause: Span, cues: Sequence[Cue]) -> list[Cue]:
    """Change cues of a clause in order, ``kind`` being the change; among them "no change" and "partially resolved"."""
    changes = [
        Cue("unchanged" if cue.kind == "same" else "improved", cue.start, cue.end)
        for cue in cues
        if cue.kind in ("same", "partly")
    ]
    taken = [(cue.start, cue.end) for cue in changes]
    for match in _CHANGE.finditer(lowered, *clause):
        start, end = match.span()
        if not any(first < end and start < last for first, last in taken):
            changes.append(Cue(match.lastgroup or "", start, end))
    return sorted(changes, key=lambda cue: cue.start)


def governing_kinds(lowered: str, clause: Span, cues: Sequence[Cue], mentions: Sequence[Span]) -> list[str]:
    """Which kind of cue decides the status of each mention: negation, hedge, resolved, skip, or none (empty string)."""
    if not cues:
        return [""] * len(mentions)
    ahead = _forward_states(lowered, clause, cues, mentions)
    return [state if state in ("negation", "skip") else _behind(mention, state, cues, mentions)
            for state, mention in zip(ahead, mentions, strict=True)]  # fmt: skip


def _forward_states(lowered: str, clause: Span, cues: Sequence[Cue], mentions: Sequence[Span]) -> list[str]:
    """Walk the clause from left to right, keeping the cue in force; a scope end lets it go."""
    events = [(cue.start, 1, cue.kind) for cue in cues if cue.kind in _FORWARD]
    events += [(start, 2, "") for start, _ in mentions]
    events += [(match.start(), 0, "") for match in _SCOPE_END.finditer(lowered, *clause)]
    for match in _SCOPE_END_OUTSIDE_LISTS.finditer(lowered, *clause):
        if not _LIST_GOES_ON.search(lowered, match.end(), clause[1]):
            events.append((match.start(), 0, ""))
    states: list[str] = []
    state = ""
    for _, what, kind in sorted(events):
        if what == 2:
            states.append(state)
        elif what == 0:
            state = ""
        elif not (kind == "hedge" and state == "negation"):  # "no opacity to suggest pneumonia" denies both
            state = "" if kind == "same" else kind
    return states


def _behind(mention: Span, ahead: str, cues: Sequence[Cue], mentions: Sequence[Span]) -> str:
    """The state of a mention once cues that speak of what stands before them are heard."""
    for cue in cues:
        if cue.start < mention[1]:
            if cue.kind == "versus":
                ahead = "hedge"
            continue
        if cue.kind == "versus":
            return "hedge"
        if cue.kind.endswith("_back"):
            return cue.kind.removesuffix("_back")
        if cue.kind in ("resolved", "hedge") and not any(start >= cue.end for start, _ in mentions):
            return cue.kind
    return ahead
