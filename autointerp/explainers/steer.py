"""The causal label: what a model writes more and less of when a feature is pushed.

"Fires on" and "writes" are two meanings of one feature, and they need not agree. The reports of the same studies are
read with and without the push; a statement counts as caused when the push brings it into clearly more reports than it
takes it out of (McNemar's test, corrected for the number of statements).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binomtest

from autointerp.explainers.base import FeatureEvidence
from autointerp.explanation import Explanation, label_words
from autointerp.reading import Reading, read_findings
from autointerp.schema import MAX_LABEL_WORDS, Modality

#: Reports of the same studies in the same order: without and with the push.
Written = tuple[Sequence[str], Sequence[str]]
#: At most this probability, over all statements tried, that chance alone brings so many in.
ALPHA = 0.05
#: A push that takes all findings out of this share of the reports has broken them.
_BROKEN = 0.5


@dataclass(frozen=True)
class Shift:
    """One statement: shares of reports that make it without and with the push, reports gained and lost, p."""

    reading: Reading
    before: float
    after: float
    gained: int
    lost: int
    p: float

    def __str__(self) -> str:
        words = label_words(self.reading.concept, self.reading.side, self.reading.status)
        return f"{words} {self.before:.0%} → {self.after:.0%}"


@dataclass(frozen=True)
class SteerExplainer:
    """Labels a feature by what it makes the model write.

    Attributes:
        write: feature → reports without and with the push, of the same studies in the same order; ``None`` for a
            feature that cannot be pushed.
    """

    write: Callable[[FeatureEvidence], Written | None]
    name: str = "steer"

    def explain(self, evidence: FeatureEvidence) -> Explanation:
        """The causal label of one feature."""
        common: dict[str, Any] = {
            "feature": evidence.number,
            "explainer": self.name,
            "modality": Modality.TEXT.value,
        }
        written = None if bool(evidence.feature["dead"]) else self.write(evidence)
        if written is None:
            return Explanation(**common, label="cannot be pushed", reasoning="It fires nowhere that could be pushed.")
        before, after = ([frozenset(read_findings(text)) for text in side] for side in written)
        common |= {"n_firing": len(after), "n_quiet": len(before)}
        if sum(not found for found in after) - sum(not found for found in before) >= _BROKEN * len(after):
            why = "With the push most reports say nothing that can be read."
            return Explanation(**common, label="breaks the report", reasoning=why)
        table = shifts(before, after)
        caused = [one for one in table if one.p <= ALPHA]
        gains = [one for one in caused if one.gained > one.lost]
        told = "; ".join(str(one) for one in caused[:6])
        if not gains:
            label = "writes less, nothing more" if caused else "changes nothing that reports say"
            return Explanation(**common, label=label, reasoning=_without_gain(len(after), told, table))
        best = max(gains, key=lambda one: (one.gained - one.lost, one.reading.side is None))
        words = f"writes {label_words(best.reading.concept, best.reading.side, best.reading.status)}"
        return Explanation(
            **common,
            label=" ".join(words.split()[:MAX_LABEL_WORDS]),
            concept=best.reading.concept,
            side=best.reading.side,
            polarity=best.reading.status,
            firing_share=best.after,
            quiet_share=best.before,
            reasoning=f"Shares of {len(after)} reports before and after the push: {told}.",
        )


def _without_gain(n: int, told: str, table: Sequence[Shift]) -> str:
    if told:
        return f"Shares of {n} reports before and after the push: {told}."
    if not table:
        return f"No statement of {n} reports changes."
    largest = "; ".join(str(one) for one in table[:3])
    return f"No statement of {n} reports changes more than chance would; the largest changes: {largest}."


def shifts(before: Sequence[frozenset[str]], after: Sequence[frozenset[str]]) -> list[Shift]:
    """Every statement that some report gains or loses, largest change first; p is Bonferroni-corrected.

    Args:
        before, after: statements (:func:`autointerp.reading.read_findings`) of each report, in the same order.
    """
    statements = sorted(frozenset().union(*before, *after))
    moved = []
    for statement in statements:
        gained = sum(statement in a and statement not in b for b, a in zip(before, after, strict=True))
        lost = sum(statement in b and statement not in a for b, a in zip(before, after, strict=True))
        if gained or lost:
            moved.append((statement, gained, lost))
    found = []
    for statement, gained, lost in moved:
        p = float(binomtest(gained, gained + lost).pvalue) * len(moved)
        share_b, share_a = (sum(statement in one for one in side) / max(len(side), 1) for side in (before, after))
        found.append(Shift(Reading.parse(statement), share_b, share_a, gained, lost, min(1.0, p)))
    return sorted(found, key=lambda one: -abs(one.gained - one.lost))
