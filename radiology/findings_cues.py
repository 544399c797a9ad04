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
_PARTLY = r"(?:partial(?:ly)?|near(?:ly)?|almost|mostly|incomplete(?:ly)?|largely|essentially)(?:[\s-]+(?:\w+ly|complete|total))?[\s-]+"
_SEEN = (
    r"(?:seen|identified|visuali[sz]ed|present|evident|demonstrated|appreciated|detected|noted|apparent|found|observed"
    r"|suspected|shown|visible|recogni[sz]ed)"
)
#: "Not seen on the prior study" says that something is new.
_BEFORE_NOW = (
    r"\s+(?:on|in|at)\s+(?:the\s+)?(?:\w+\s+)?(?:prior|previous|earlier|preceding|old|comparison)\b(?!\s+\w+\s+is\s+now)"
    r"|\s+(?:previously|before)\b"
)
#: What an apparent finding turns out to be.
_NOTHING_SEEN = r"(?:\w+\s+){0,3}?(?:nipples?|skin\s?folds?|artifact\w*|artefact\w*)"
_DOUBTED = r"(?:possible|suspected|probable|questioned|questionable|likely|suggested|not\s+excluded|a\s+possibility)"

#: Kinds in order of precedence where two could start at the same place.
_CUES: tuple[tuple[str, str], ...] = (
    (
        "skip",
        r"history of|h/o|(?:evaluate|evaluation|assess|assessment|evaluated|assessed|evaluating|assessing|screening|workup"
        r"|follow[\s-]up|treated|treatment|asked|risk|predispos\w+)\s+(?:for|of)(?=\s+(?!the\b))|(?:to\s+)?rule\s+out|r/o"
        r"|please\s+exclude|if\s+there\s+is\s+(?:\w+\s+){0,2}?(?:concern|suspicion|question)\s+(?:for|of)"
        r"|correlat\w+\s+(?:\w+\s+)?(?:for|with)|(?:to|could|can|would|might|helps?)\s+exclude|accounts?\s+for|(?:simulat|mimic)\w*"
        r"|(?:document|ensure|confirm|assure|until|demonstrate)\s+(?:\w+\s+)?(?:resolution|clearing|stability)(?:\s+of)?"
        r"|(?:(?<=ectomy\s)|(?<=resection\s)|(?<=surgery\s)|(?<=radiation\s)|(?<=therapy\s)|(?<=biopsy\s))for",
    ),
    (
        "same",
        r"(?:no|without|not)\s+(?:\w+\s+){0,3}changes?\b(?:\s+(?:in|of))?|not\s+(?:\w+ly\s+)?(?:changed|increased|decreased|worsened|improved|progressed|grown|altered|resolved|cleared)"
        r"|not\s+only"
        r"|no\s+(?:\w+\s+){0,2}(?:increase|decrease|worsening|progression|improvement|enlargement)\s+(?:in|of)(?=\s+(?:the|left"
        r"|right|bilateral|small|size)\b)",
    ),
    ("partly", rf"{_PARTLY}(?:resolved|cleared|resolution|clearing)|resolving"),
    (
        "skip_back",
        rf"(?<!may\s)(?<!might\s)(?<!could\s)(?<!likely\s)(?<!probably\s)(?:is|are|represents?|representing)\s+{_NOTHING_SEEN}",
    ),
    (
        "hedge_back",
        rf"(?:may|might|could|likely|probably)\s+(?:be|represents?|representing|reflects?)\s+{_NOTHING_SEEN}|"
        r"(?:cannot|can not|can't|could not)\s+be\s+(?:\w+\s+)?(?:excluded|ruled\s+out|denied)|not\s+(?:\w+\s+)?excluded"
        r"|(?:difficult|hard|impossible)\s+to\s+(?:\w+ly\s+)?(?:exclude|rule\s+out)(?=\s*(?:[.,;]|$))"
        rf"|{_BE}\s+{_DOUBTED}(?=\s*(?:[.,;?]|$|(?:and|in|on|at|but|within|given|with)\b))"
        rf"|{_BE}\s+not\s+(?:as\s+)?(?:well|clearly|fully|definitely|adequately)[\s-]+{_SEEN}"
        r"|should\s+be\s+considered|if\s+(?:present|any)|(?:is|are)\s+(?:another|also\s+a|a)\s+(?:consideration|possibility)"
        r"|(?:may|might|could)\s+(?:also\s+)?(?:be|have)\s+(?:present|developing|developed|seen|there)"
        r"|(?:possible|likely|probable|questioned|suspected|questionable)(?=\s*(?:[.;?]|$))",
    ),
    (
        "resolved_back",
        rf"(?:{_HAVE}|{_BE})\s+(?!{_PARTLY})(?:(?!not\b)\w+\s+){{0,2}}(?:resolved|cleared|disappeared|removed|withdrawn(?!\s+(?:slightly|by|partially|partly|\d)))"
        r"|removal(?!\s+of)",
    ),
    ("resolved", r"no longer|resolution of|removal of|resolved|removed|clearing of"),
    (
        "negation_back",
        rf"(?<!tip\s)(?<!tip\sis\s)(?<!tips\sare\s)(?:{_BE}\s+)?not\s+(?:\w+\s+)?{_SEEN}(?!{_BEFORE_NOW})|{_BE}\s+(?:\w+ly\s+)?(?:absent|unlikely|negative(?!\s+for)|excluded|ruled\s+out|none)"
        rf"|{_HAVE}\s+been\s+(?:excluded|ruled\s+out)|(?:absent|none|no|negative)(?=\s*(?:[.,;]|$))",
    ),
    (
        "normal_back",
        r"(?:is|are|was|were|appears?|remains?)\s+(?:\w+ly\s+)?(?:normal|unremarkable|within\s+(?:the\s+)?(?:normal|limits))"
        r"|within\s+normal\s+limits",
    ),
    ("versus", r"versus|vs\.?"),
    (
        "hedge",
        r"(?:cannot|can not|can't|could not|difficult to)\s+(?:\w+ly\s+)?(?:exclude|rule\s+out)|possib(?:le|ly|ility of)"
        r"|probabl[ey]|likely|suspect(?:ed)?|suspicio(?:us|n)\s+(?:for|of)|concern(?:ing)?\s+(?:for|of)|worrisome\s+for"
        r"|question(?:able|ed|\s+of)?|may|maybe|might|could|suggest(?:s|ive|ing|ed|ion)?|equivocal|potential(?:ly)?"
        r"|presum(?:ed|ably)|perhaps|consider(?:ation)?|differential|favou?r(?:s|ed|ing)?"
        r"|(?:if|unless)|(?:appropriate|proper|right)\s+clinical",
    ),
    (
        "negation",
        r"no|nothing|without|w/o|clear(?=\s+(?:focal\s+)?air\s?space)|negative\s+for|free\s+(?:of|from)|clear\s+of|absence\s+of|absent|nor|neither|not|rather\s+than"
        r"|unlikely|denies|lack\s+of|excludes?|ruled\s+out|lacks?",
    ),
)
#: How cues begin: lets the many words that begin none pass at the cost of one comparison.
_CUE_START = (
    r"(?=h/o|hist|r/o|eval|assess|for|repres|document|ensure|confirm|assure|until|demonst|simulat|mimic|hard|imposs|account|would|help|screen|work|follow|treat|ask|risk|predis|to |please|if |correl|no|with|near|part|almost|most"
    r"|incomp|large|essent|resol|clear|can|could|diff|is|are|w|has|have|had|may|might|rem|abs|neg|appear|vers|vs|to\s|poss|prob"
    r"|like|susp|conc|quest|sugg|equi|poten|pres|perh|cons|fav|if|unless|appro|prop|right|free|nor|nei|rath|unl|den|lack|excl|rul|should|denie)"
)
_CUE = re.compile(rf"\b{_CUE_START}(?:" + "|".join(rf"(?P<{kind}>{body})" for kind, body in _CUES) + r")(?!\w)")

_CHANGES: tuple[tuple[str, str], ...] = (
    ("unchanged", r"unchanged|stable|similar|(?:is|are)\s+(?:about\s+)?the\s+same|persist(?:s|ent|ing)?|again|remain(?:s|ing)?|as\s+before|still|constant"
     r"|redemonstrat\w+|unaltered"),
    (
        "new",
        rf"new(?:ly)?|not\s+(?:\w+\s+)?{_SEEN}{_BEFORE_NOW}|interval\s+development|(?:has|have)\s+(?:\w+\s+)?developed|developed\s+in\s+the\s+interval"
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
    return any(first < end and start < last for first, last in spans)


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
            if not _NEW_PART.search(lowered, end, cue.start):
                return Governed(cue.kind.removesuffix("_back"), cue)
        elif cue.kind == "resolved" and not any(first >= cue.end for first, _ in mentions):
            return Governed(cue.kind, cue)
    return ahead
