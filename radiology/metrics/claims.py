"""What a phrase claims: of what it speaks, whether it affirms or denies it, and with which qualities.

Two rules decide whether one claim follows from another (monotonicity, as in natural logic; van Benthem 1986):

- what is affirmed may be said with less: "small left effusion" entails "effusion" and "left effusion";
- what is denied may be denied with more: "no effusion" entails "no left effusion".

A normal organ is the denial of anything abnormal about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from radiology.findings import Finding, read_report
from radiology.findings_patterns import finding_pattern
from radiology.findings_text import lower_case
from radiology.metrics.claim_words import (
    ORGANS,
    WEAK_IN_DENIALS,
    canonical_words,
    implied,
    mention_words,
    rewrite,
    word_set,
)
from radiology.metrics.phrases import split_phrase

Polarity = Literal["present", "absent", "uncertain"]

_SIDES = frozenset({"left", "right", "bilateral"})
_ZONES = frozenset({"upper", "mid", "lower", "apical", "lingula"})
_HEART_DEVICES = frozenset({"pacemaker", "defibrillator"})
_CHANGES = frozenset({"unchanged", "worse", "improved", "new"})
_DENIES = re.compile(
    r"\b(?:no|not|without|nor|neither|negative|absent|absence|free|rather\s+than|resolved|cleared|resolution|removed)\b"
)
_RESOLVED = re.compile(r"\b(?:resolved|resolution|cleared|no\s+longer|removed|removal)\b")
_DOUBTS = re.compile(
    r"\b(?:possibl[ey]|probabl[ey]|likely|may|might|could|questionable|suspected|versus|vs|cannot|suspicious\s+for)\b"
)
_NOT_BEFORE = re.compile(
    r",?\s+(?:which\s+(?:is|was|were|are)\s+)?not\s+(?:\w+ly\s+)?(?:seen|present|identified|noted|visible|evident)\s+"
    r"(?:on|in|at)\s+(?:the\s+)?(?:previous|prior|last|earlier)(?:\s+\w+)?",
    re.I,
)
_LABEL = re.compile(r"^\s*[A-Z][\w/ ]{2,60}:\s*(?=\w)")
_STATE_ALONE = re.compile(
    r"(?:is|are|within|normal|unremarkable|clear|intact|no|not|stable|unchanged|(?:\w+ly\s+)?enlarged)\b", re.I
)
_CUE_WORDS = word_set(
    """no not without nor neither negative absent absence free longer resolved cleared resolution removed
    removal possible possibly probable probably likely may might could questionable suspected versus vs
    cannot be excluded exclude suspicious prior previous previously represent represents representing
    reflect reflects reflecting"""
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that a phrase says.

    ``words`` are what it speaks of and its qualities, in their one form; ``organ`` is the part of the body that it
    calls normal as a whole. ``resolved`` marks a denial of something that was there.
    """

    polarity: Polarity
    words: frozenset[str]
    organ: str | None = None
    resolved: bool = False

    def entails(self, other: Claim) -> bool:
        """Whether ``other`` must be true where this is."""
        if other.polarity == "absent" or self.polarity == "absent":
            return self.polarity == other.polarity and self._denies_enough_for(other)
        if self.polarity == "uncertain" and other.polarity == "present":
            return False
        return other.words <= _implications(self.words)

    def contradicts_denial(self, denial: Claim) -> bool:
        """Whether this affirms what ``denial`` denies."""
        if self.polarity == "absent" or denial.polarity != "absent":
            return False
        sides = denial.words & _SIDES
        if sides and self.words & _SIDES and not sides & _implications(self.words & _SIDES):
            return False
        return denial.words - _SIDES - WEAK_IN_DENIALS <= _implications(self.words)

    def _denies_enough_for(self, other: Claim) -> bool:
        if other.resolved and not self.resolved:
            return False
        if other.organ and "acute" in self.words - other.words:
            return False  # "no acute bony abnormality" does not make the bones normal
        organs = {f"abnormal_{organ}" for organ in other.words & ORGANS}
        return self.words - WEAK_IN_DENIALS <= _implications(other.words | organs)


@lru_cache(maxsize=65536)
def _implications(words: frozenset[str]) -> frozenset[str]:
    found = frozenset().union(*(implied(word) for word in words))
    return found | {"bilateral"} if {"left", "right"} <= found else found


@lru_cache(maxsize=65536)
def claims_of(phrase: str) -> tuple[Claim, ...]:
    """The claims of a phrase; one that speaks of several things has several. Words that say nothing have none."""
    phrase = _NOT_BEFORE.sub(" new", _without_label(phrase))
    claims = [claim for piece in split_phrase(phrase) for claim in _claims_of_piece(piece)]
    return tuple(dict.fromkeys(claims))


def _without_label(phrase: str) -> str:
    """Without a heading such as "Heart/Mediastinum:", unless the words after it need it ("Lungs: clear")."""
    label = _LABEL.match(phrase)
    if label is None or _STATE_ALONE.match(phrase, label.end()):
        return phrase
    return phrase[label.end() :]


def _claims_of_piece(piece: str) -> Iterator[Claim]:
    lowered = lower_case(piece)
    mentions = _longest([finding for finding in read_report(piece) if _is_named(lowered, finding)])
    rest = lowered
    for finding in mentions:
        start, end = finding.span
        rest = rest[:start] + " " * (end - start) + rest[end:]
    rest = rewrite(rest)
    words = [word for word in canonical_words(rest) if word not in _CUE_WORDS]
    resolved = _RESOLVED.search(rest) is not None
    if mentions:
        qualities = frozenset(words) - {"lung"}
        for finding in mentions:
            yield _claim_of_mention(lowered, finding, qualities, resolved)
        return
    denied = _DENIES.search(rest) is not None
    yield from _claims_of_words(frozenset(words), denied, resolved, _DOUBTS.search(rest) is not None)


def _is_named(lowered: str, finding: Finding) -> bool:
    """Whether the words name the finding; "the heart is normal" tells of one without its name."""
    if finding.concept == "no_finding":
        return False
    match = finding_pattern().match(lowered, finding.span[0])
    return match is not None and match.end() == finding.span[1]


def _words(lowered: str, finding: Finding) -> str:
    return lowered[slice(*finding.span)]


def _longest(findings: list[Finding]) -> list[Finding]:
    """Without those that lie inside of another one."""
    return [
        finding
        for finding in findings
        if not any(
            other.span != finding.span and other.span[0] <= finding.span[0] and finding.span[1] <= other.span[1]
            for other in findings
        )
    ]


def _claim_of_mention(lowered: str, finding: Finding, qualities: frozenset[str], resolved: bool) -> Claim:
    words = mention_words(_words(lowered, finding), finding.concept) | qualities
    if "bone" in words and words & {"lung_lesion", "lung_mass"}:
        words = words - {"lung_lesion", "lung_mass"} | {"osseous_lesion"}
    if words & _HEART_DEVICES:
        words -= {"heart"}  # "cardiac pacing device"
    if finding.status == "absent":
        words -= _CHANGES if not resolved else frozenset()
        return Claim("absent", words - {"normal", "bilateral"}, resolved=resolved)
    return Claim(finding.status, words)


def _claims_of_words(words: frozenset[str], denied: bool, resolved: bool, doubted: bool) -> Iterator[Claim]:
    if "inflated" in words and not denied:
        yield Claim("present", frozenset({"inflated"}))
        words -= {"inflated"}
        if not words - {"lung"}:
            return
    if "normal" in words and not words & ORGANS and words & _ZONES:
        words |= {"lung"}  # "the right upper lobe is clear"
    organs = sorted(words & ORGANS)
    qualities = words - ORGANS
    enlarged = "enlarged" in qualities
    if organs and (("normal" in qualities and not denied) or (denied and qualities & {"abnormality", "enlarged"})):
        other = qualities - {"normal", "abnormality", "unchanged"}
        if not other - _SIDES - WEAK_IN_DENIALS - _ZONES - {"enlarged"}:
            for organ in organs:
                yield _normal_organ(organ, other, enlarged)
            return
    if "lung" in organs and (qualities - {"normal"} or len(organs) > 1):
        words -= {"lung"}
    if enlarged and "heart" in organs and not denied:
        words = words - {"heart", "enlarged"} | {"cardiomegaly"}
    if enlarged and "mediastinum" in organs and not denied:
        words = words - {"mediastinum", "enlarged"} | {"enlarged_cardiomediastinum"}
    if not words:
        return
    polarity: Polarity = "absent" if denied else "uncertain" if doubted else "present"
    yield Claim(polarity, words, resolved=denied and resolved)


def _normal_organ(organ: str, qualities: frozenset[str], enlarged: bool) -> Claim:
    qualities -= {"enlarged", "bilateral"}  # "both lungs are clear" says what "the lungs are clear" does
    if organ == "heart":  # reports use "normal heart" and "normal heart size" for the same
        return Claim("absent", qualities | {"cardiomegaly"}, organ)
    if enlarged and organ != "mediastinum":
        return Claim("absent", qualities | {organ, "enlarged"}, organ)
    return Claim("absent", qualities | {f"abnormal_{organ}"}, organ)
