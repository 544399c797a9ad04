"""Whether a phrase follows from the phrases of another report, by rules on what both claim; needs no model.

The same question put to a language model is in :mod:`radiology.metrics.entailment_llm`; RadFact takes either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from radiology.metrics.claims import Claim, claims_of


@dataclass(frozen=True)
class Verdict:
    """Whether a phrase is entailed, and by which phrases of the other report (places in the list, verbatim there).

    ``failed``: no usable answer came; such a phrase counts as not entailed and is counted.
    """

    entailed: bool
    evidence: tuple[int, ...] = ()
    failed: bool = False


class Entailment(Protocol):
    """A judge of entailment. ``name`` says in every result which one it was."""

    @property
    def name(self) -> str: ...

    def judge(self, phrase: str, premises: Sequence[str]) -> Verdict:
        """Whether ``phrase`` is true if all ``premises`` are; the evidence lists the premises it follows from."""
        ...


class FindingsEntailment:
    """Entailment by the findings and words of phrases: monotone in what is affirmed, antitone in what is denied.

    A phrase with several claims is entailed when each of them is. Where premises contradict what a general statement
    denies ("remaining lungs are clear" beside a nodule), the general statement does not count.
    """

    name = "findings"

    def judge(self, phrase: str, premises: Sequence[str]) -> Verdict:
        claims = claims_of(phrase)
        if not claims:
            return Verdict(False)
        known = [(place, claim) for place, premise in enumerate(premises) for claim in claims_of(premise)]
        evidence: list[int] = []
        for claim in claims:
            found = _evidence(claim, known)
            if not found:
                return Verdict(False)
            evidence += found
        return Verdict(True, tuple(sorted(set(evidence))))


def _evidence(claim: Claim, known: Sequence[tuple[int, Claim]]) -> list[int]:
    """Premises that entail a claim; those of a bilateral one may be two, one a side."""
    if same := [place for place, premise in known if premise == claim]:
        return same
    direct = [place for place, premise in known if premise.entails(claim)]
    if direct and any(premise.contradicts_denial(claim) for _, premise in known):
        return []
    if direct or "bilateral" not in claim.words:
        return direct
    sides = [
        Claim(claim.polarity, claim.words - {"bilateral"} | {side}, claim.organ, claim.resolved)
        for side in ("left", "right")
    ]
    found = [[place for place, premise in known if premise.entails(side)] for side in sides]
    return [place for places in found for place in places] if all(found) else []
