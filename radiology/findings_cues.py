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
_PARTLY = r"(?:partial(?:ly)?|near(?:ly)?|almost|mostly|incomplete(?:ly)?|largely|essentially)(?:[\s-]+\w+ly)?[\s-]+"
_SEEN = (
    r"(?:seen|identified|visuali[sz]ed|present|evident|demonstrated|appreciated|detected|noted|apparent|found|observed"
    r"|suspected|shown|visible|recogni[sz]ed)"
)
_DOUBTED = r"(?:possible|suspected|probable|questioned|questionable|likely|suggested|not\s+excluded|a\s+possibility)"

#: Kinds in order of precedence where two could start at the same place.
_CUES: tuple[tuple[str, str], ...] = (
    (
        "skip",
        r"history of|h/o|(?:evaluate|evaluation|assess|assessment|evaluated|assessed|evaluating|assessing|screening|workup"
        r"|follow[\s-]up|treated|treatment|asked|risk|predispos\w+)\s+(?:for|of)(?=\s+(?!the\b))|to\s+rule\s+out|r/o"
        r"|please\s+exclude|if\s+there\s+is\s+(?:clinical\s+)?(?:concern|suspicion|question)\s+(?:for|of)"
        r"|correlat\w+\s+(?:\w+\s+)?(?:for|with)",
    ),
    (
        "same",
        r"(?:no|without|not)\s+(?:\w+\s+){0,3}changes?\b(?:\s+(?:in|of))?|not\s+(?:\w+ly\s+)?changed|not\s+only"
        r"|no\s+(?:\w+\s+){0,2}(?:increase|decrease|worsening|progression|improvement|enlargement)\s+(?:in|of)(?=\s+(?:the|left"
        r"|right|bilateral|small|size)\b)",
    ),
    ("partly", rf"{_PARTLY}(?:resolved|cleared|resolution|clearing)|resolving"),
    (
        "hedge_back",
        r"(?:cannot|can not|can't|could not)\s+be\s+(?:\w+\s+)?(?:excluded|ruled\s+out)|not\s+(?:\w+\s+)?excluded"
        rf"|{_BE}\s+{_DOUBTED}(?=\s*(?:[.,;?]|$|(?:and|in|on|at|but|within|given|with)\b))"
        rf"|{_BE}\s+not\s+(?:as\s+)?(?:well|clearly|fully|definitely|adequately)[\s-]+{_SEEN}"
        r"|should\s+be\s+considered|(?:is|are)\s+(?:another|also\s+a|a)\s+(?:consideration|possibility)"
        r"|(?:may|might|could)\s+(?:also\s+)?(?:be|have)\s+(?:present|developing|developed|seen|there)"
        r"|(?:possible|likely|probable|questioned|suspected|questionable)(?=\s*(?:[.;?]|$))",
    ),
    (
        "resolved_back",
        rf"(?:{_HAVE}|{_BE})\s+(?!{_PARTLY})(?:(?!not\b)\w+\s+){{0,2}}(?:resolved|cleared|disappeared|removed|withdrawn)",
    ),
    ("resolved", r"no longer|resolution of|removal of|resolved|removed|clearing of"),
    (
        "negation_back",
        rf"(?:{_BE}\s+)?not\s+(?:\w+\s+)?{_SEEN}|{_BE}\s+(?:\w+ly\s+)?(?:absent|unlikely|negative|excluded|ruled\s+out|none)"
        rf"|{_HAVE}\s+been\s+(?:excluded|ruled\s+out)|(?:absent|none|negative)(?=\s*(?:[.,;]|$))",
    ),
    (
        "normal_back",
        r"(?:is|are|was|were|appears?|remains?)\s+(?:\w+ly\s+)?(?:normal|unremarkable|within\s+(?:the\s+)?(?:normal|limits))"
        r"|within\s+normal\s+limits",
    ),
    ("versus", r"versus|vs\.?"),
    (
        "hedge",
        r"(?:cannot|can not|can't|could not|difficult to)\s+(?:\w+ly\s+)?exclude|to\s+exclude|possib(?:le|ly|ility of)"
        r"|probabl[ey]|likely|suspect(?:ed)?|suspicio(?:us|n)\s+(?:for|of)|concern(?:ing)?\s+(?:for|of)|worrisome\s+for"
        r"|question(?:able|ed|\s+of)?|may|maybe|might|could|suggest(?:s|ive|ing|ed|ion)?|equivocal|potential(?:ly)?"
        r"|presum(?:ed|ably)|perhaps|consider(?:ation)?|differential|favou?r(?:s|ed|ing)?"
        r"|(?:if|unless)|(?:appropriate|proper|right)\s+clinical",
    ),
    (
        "negation",
        r"no|without|w/o|clear(?=\s+(?:focal\s+)?air\s?space)|negative\s+for|free\s+(?:of|from)|clear\s+of|absence\s+of|absent|nor|neither|not|rather\s+than"
        r"|unlikely|denies|lack\s+of|excludes?|ruled\s+out|lacks?",
    ),
)
#: How cues begin: lets the many words that begin none pass at the cost of one comparison.
_CUE_START = (
    r"(?=h/o|hist|r/o|eval|assess|screen|work|follow|treat|ask|risk|predis|to |please|if |correl|no|with|near|part|almost|most"
    r"|incomp|large|essent|resol|clear|can|could|diff|is|are|w|has|have|had|may|might|rem|abs|neg|appear|vers|vs|to\s|poss|prob"
    r"|like|susp|conc|quest|sugg|equi|poten|pres|perh|cons|fav|if|unless|appro|prop|right|free|nor|nei|rath|unl|den|lack|excl|rul|should)"
)
_CUE = re.compile(rf"\b{_CUE_START}(?:" + "|".join(rf"(?P<{kind}>{body})" for kind, body in _CUES) + r")(?!\w)")

_CHANGES: tuple[tuple[str, str], ...] = (
    ("unchanged", r"unchanged|stable|similar|persist(?:s|ent|ing)?|again|remain(?:s|ing)?|as\s+before|still|constant"
     r"|redemonstrat\w+|unaltered"),
    (
        "new",
        r"new(?:ly)?|interval\s+development|(?:has|have)\s+(?:\w+\s+)?developed|developed\s+in\s+the\s+interval"
        r"|interval\s+(?:\w+\s+)?(?:appearance|placement|insertion)",
    ),
    (
        "worse",
        r"increas(?:es?|ed|ing)|wors(?:e|ened|ening)|larger|bigger|progress(?:ed|ion|ive|ing)|enlarging|expanding|grown"
        r"|more\s+(?:prominent|extensive|conspicuous|pronounced|dense|apparent)|exacerbat\w+",
    ),
    (
        "improved",
        r"decreas(?:es?|ed|ing)|improv(?:ed|ing|ement)|smaller|less(?:ened)?(?!\s+(?:likely|than))|reduced|resolving|diminished"
        r"|clearing|regress(?:ed|ion)|diminishing",
    ),
)  # fmt: skip
_CHANGE = re.compile(
    r"\b(?=[abcdeghilmnprsuw])(?:" + "|".join(rf"(?P<{kind}>{body})" for kind, body in _CHANGES) + r")\b"
)

_DETERMINER = (
    r"(?:a|an|the|there|now|also|stable|unchanged|persistent|possible|possibly|probable|probably|likely|new|increased"
    r"|decreased|improved|worsened|worsening|heart|lungs|is|are|chronic|old|healed|healing|multiple|several)"
)
_SIZE = r"(?:small|tiny|trace|mild|moderate|large|severe|marked|minimal|bilateral|left|right|slight|stable|borderline)"
_SCOPE_END = re.compile(
    rf",\s*(?:and\s+)?(?:with\b|{_DETERMINER}\b)|\band\s+{_DETERMINER}\b"
    r"|(?<!consistent )(?<!compatible )(?<!associated )\bwith\b|:"
    r"|(?P<cause>\b(?:given|because|due to|secondary to|status post)\b)"
)
_SCOPE_END_OUTSIDE_LISTS = re.compile(rf"(?:,\s*(?:and\s+)?|\band\s+){_SIZE}\b")
_LIST_GOES_ON = re.compile(r"\bor\b")
_ALMOST_NOTHING = re.compile(r"\s*(?:\w+\s+)?")
_VERSUS_CHAIN = re.compile(r"\b(?:versus|vs\.?|or)\s+(?:[\w-]+\s+){0,4}$")

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
    if lowered.endswith("?", 0, clause[1]):  # "small effusion?"
        cues.append(Cue("hedge_back", clause[1] - 1, clause[1]))
    return cues


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
        if not any(first < end and start < last for first, last in taken):
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
    ahead = _forward_states(lowered, clause, cues, mentions) if cues else [_NOTHING] * len(mentions)
    return [
        state if state.kind in ("negation", "skip") or not cues else _behind(lowered, place, state, cues, mentions)
        for place, state in enumerate(ahead)
    ]


def _forward_states(lowered: str, clause: Span, cues: Sequence[Cue], mentions: Sequence[Span]) -> list[Governed]:
    """Walk the clause from left to right, keeping the cue in force; a scope end lets it go."""
    events: list[tuple[int, int, Cue | None]] = [(cue.start, 1, cue) for cue in cues if cue.kind in _FORWARD]
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
                state = (
                    _NOTHING  # but "may be due to edema" leaves the edema in doubt, a removal takes a whole list away
                )
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
            return Governed(cue.kind.removesuffix("_back"), cue)
        elif cue.kind == "resolved" and not any(first >= cue.end for first, _ in mentions):
            return Governed(cue.kind, cue)
    return ahead
