"""The offline explainer: says of a feature what its firing contexts have and its quiet ones have not.

No model and no network; the same contexts give the same label. Where nothing tells firing from quiet it says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from autointerp.explainers.base import FeatureEvidence
from autointerp.explainers.evidence import contrasts
from autointerp.explainers.findings_contrast import (
    MIN_DIFFERENCE,
    MIN_SHARE,
    MIN_Z,
    MIN_Z_STRONGEST,
    Found,
    Images,
    finding_in_images,
    finding_in_sentences,
)
from autointerp.explainers.places import FRONTAL_LIKE, Place, place_of
from autointerp.explanation import Explanation, label_words
from autointerp.reading import content_words
from autointerp.schema import MAX_LABEL_WORDS, Kind, Modality, Polarity

#: Fewer contexts than this, firing or quiet, explain nothing.
MIN_CONTEXTS = 3
_MIN_WEIGHT = 0.1
#: Share of peaks on one and the same token that makes a feature one of that word.
_MIN_WORD_SHARE = 0.8

_NOUNS = {Modality.IMAGE: "images", Modality.TEXT: "sentences"}
_ANY_LABELS = {
    Polarity.ABSENT: "negated findings of any kind",
    Polarity.UNCERTAIN: "hedged findings of any kind",
    Polarity.CHANGED: "findings that changed since the prior study",
}


@dataclass(frozen=True)
class ContrastExplainer:
    """Explains by contrast of firing and quiet contexts; see :mod:`autointerp.explainers.findings_contrast`.

    Images and sentences are looked at apart. Of a feature that fires on both, the label holds for both if they agree,
    and otherwise for the one with the clearer meaning; ``modality`` says which, and the reasoning names the other one.
    """

    name: str = "contrast"

    def explain(self, evidence: FeatureEvidence) -> Explanation:
        """Explain one feature from its contexts of the explain split."""
        common: dict[str, Any] = {"feature": evidence.number, "explainer": self.name}
        modality = evidence.modality
        if bool(evidence.feature["dead"]):
            why = "It fires on none of the indexed tokens."
            return Explanation(**common, modality=modality.value, label="never fires", reasoning=why)
        # Both are looked at wherever there are contexts: a feature may mean one thing in a few patches of each picture
        # and fire here and there on words that say nothing.
        there = [one for one in (Modality.IMAGE, Modality.TEXT) if (evidence.contexts["modality"] == one.value).any()]
        sides = [_Side.of(evidence, one) for one in there or [_main(modality)]]
        if float(evidence.feature["image_share"]) < 0.5:
            sides.reverse()
        found = [side for side in sides if side.found is not None]
        if not found:
            main = next((side for side in sides if side.is_usable), sides[0])
            return Explanation(**common, modality=modality.value, **main.counts, **main.without_finding())
        best = max(found, key=lambda side: side.clearness)
        agree = len(found) == 2 and found[0].meaning == found[1].meaning
        holds_for = Modality.BOTH if agree else best.modality
        told = best.with_finding()
        told["reasoning"] += "".join(side.besides for side in found if side.meaning != best.meaning)
        return Explanation(**common, modality=holds_for.value, **best.counts, **told)


@dataclass(frozen=True)
class _Side:
    """The contexts of one modality and the finding that marks them, if there is one."""

    modality: Modality
    firing: pd.DataFrame
    quiet: pd.DataFrame
    found: Found | None
    strongest_only: bool = False

    @staticmethod
    def of(evidence: FeatureEvidence, modality: Modality) -> _Side:
        firing, quiet = evidence.split_by_firing(modality)
        told_f, told_q = firing[firing["findings"].notna()], quiet[quiet["findings"].notna()]
        if len(told_f) < MIN_CONTEXTS or len(told_q) < MIN_CONTEXTS:
            return _Side(modality, firing, quiet, None)
        found = _finding(modality, told_f, told_q, place_of(firing).side, MIN_Z)
        if found is not None:
            return _Side(modality, firing, quiet, found)
        # Many features fire weakly on much else; what they mean shows where they fire most.
        strongest = told_f[told_f["kind"] == Kind.TOP.value]
        if len(strongest) >= MIN_CONTEXTS:
            found = _finding(modality, strongest, told_q, place_of(strongest).side, MIN_Z_STRONGEST)
        return _Side(modality, firing, quiet, found, strongest_only=found is not None)

    @property
    def is_usable(self) -> bool:
        return len(self.firing) >= MIN_CONTEXTS and len(self.quiet) >= MIN_CONTEXTS

    @property
    def counts(self) -> dict[str, Any]:
        return {"n_firing": len(self.firing), "n_quiet": len(self.quiet)}

    @property
    def meaning(self) -> tuple[str | None, str]:
        assert self.found is not None
        return self.found.concept, self.found.polarity.value

    @property
    def clearness(self) -> tuple[bool, float]:
        """A named finding before a kind of statement, then by z."""
        assert self.found is not None
        return self.found.concept is not None, self.found.contrast.z

    @property
    def label(self) -> str:
        """The finding in words."""
        found = self.found
        assert found is not None
        if found.concept is None:
            return _ANY_LABELS[found.polarity]
        return label_words(found.concept, found.side, found.polarity)

    @property
    def besides(self) -> str:
        """A sentence on this meaning beside a clearer one."""
        assert self.found is not None
        return f" On {_NOUNS[self.modality]} it means something else: {self.label} (z {self.found.contrast.z:.1f})."

    def with_finding(self) -> dict[str, Any]:
        """Label and evidence of the finding."""
        found = self.found
        assert found is not None
        contrast, place = found.contrast, self._place
        lateralised = self.modality is Modality.IMAGE and found.is_lateralised
        noun = f"frontal {_NOUNS[self.modality]}" if lateralised else _NOUNS[self.modality]
        where = f"; it fires on {place}" if str(place) else ""
        fires = "fires most" if self.strongest_only else "fires"
        return {
            "label": self.label,
            "concept": found.concept,
            "side": found.side,
            "polarity": found.polarity.value,
            "firing_share": contrast.firing_share,
            "quiet_share": contrast.quiet_share,
            "z": contrast.z,
            "reasoning": f"Holds for {contrast.firing_share:.0%} of the {noun} where it {fires} (weighted by "
            f"activation) and {contrast.quiet_share:.0%} of those where it is quiet, z {contrast.z:.1f}{where}.",
        }

    def without_finding(self) -> dict[str, Any]:
        """A label of another kind, or the admission that there is none."""
        if not self.is_usable:
            return _too_few(len(self.firing), len(self.quiet))
        if self.modality is Modality.TEXT:
            return _of_words(self.firing, self.quiet)
        if self.firing["findings"].isna().all():
            return _unexplained(self._place, "No report tells what is in its images.")
        return _unexplained(self._place, "No finding of the reports tells firing from quiet images.")

    @property
    def _place(self) -> Place:
        return place_of(self.firing) if self.modality is Modality.IMAGE else Place(None, None)


def _finding(
    modality: Modality, firing: pd.DataFrame, quiet: pd.DataFrame, patch_side: str | None, min_z: float
) -> Found | None:
    weights = _weights(firing)
    if modality is Modality.IMAGE:
        return finding_in_images(_images(firing), _images(quiet), weights, patch_side, min_z)
    return finding_in_sentences(_findings(firing), _findings(quiet), weights, min_z)


def _images(contexts: pd.DataFrame) -> Images:
    return Images(_findings(contexts), contexts["image"].isin(FRONTAL_LIKE).to_numpy(bool))


def _main(modality: Modality) -> Modality:
    return Modality.TEXT if modality is Modality.TEXT else Modality.IMAGE


def _too_few(n_firing: int, n_quiet: int) -> dict[str, Any]:
    if n_firing == 0:
        label, why = "no context to explain it", "It fires in none of the images and sentences of the explain split."
    elif n_quiet < MIN_CONTEXTS <= n_firing:
        label, why = "fires nearly everywhere, no single meaning", "There are hardly any contexts where it is quiet."
    else:
        label, why = "too few contexts to explain it", f"It fires in {n_firing} distinct contexts of the explain split."
    return {"label": label, "reasoning": why}


def _of_words(firing: pd.DataFrame, quiet: pd.DataFrame) -> dict[str, Any]:
    """The one word on which it peaks, or else the words of its sentences."""
    peaks = pd.Series([_peak_token(row) for row in firing.itertuples()]).value_counts(normalize=True)
    if peaks.iloc[0] >= _MIN_WORD_SHARE and peaks.index[0]:
        share = float(peaks.iloc[0])
        return {
            "label": f"the token “{peaks.index[0]}”",
            "firing_share": share,
            "reasoning": f"{share:.0%} of its peaks are on this token; no finding tells firing from quiet sentences.",
        }
    words_f = [frozenset(content_words(text)) for text in firing["sentence"]]
    words_q = [frozenset(content_words(text)) for text in quiet["sentence"]]
    table = contrasts(words_f, words_q, _weights(firing))
    clear = {str(word): c for word, c in table.items() if c.z >= MIN_Z and c.firing_share >= MIN_SHARE}
    clear = {word: c for word, c in clear.items() if c.firing_share - c.quiet_share >= MIN_DIFFERENCE}
    best = sorted(clear, key=lambda word: -clear[word].z)[:3]
    if not best:
        return _unexplained(Place(None, None), "Neither findings nor words tell firing from quiet sentences.")
    first = clear[best[0]]
    return {
        "label": f"sentences with {', '.join(best)}",
        "firing_share": first.firing_share,
        "quiet_share": first.quiet_share,
        "z": first.z,
        "reasoning": f"“{best[0]}” is in {first.firing_share:.0%} of the sentences where it fires and "
        f"{first.quiet_share:.0%} of those where it is quiet, z {first.z:.1f}.",
    }


def _unexplained(place: Place, why: str) -> dict[str, Any]:
    label = f"no single meaning, {place}" if str(place) else "no single meaning"
    return {"label": label, "reasoning": why}


def _peak_token(row: Any) -> str:
    token = str(row.tokens[int(np.argmax(row.activations))]).strip().lower()
    return token if len(token.split()) < MAX_LABEL_WORDS - 1 else ""


def _findings(contexts: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(found) if found is not None else () for found in contexts["findings"]]


def _weights(firing: pd.DataFrame) -> np.ndarray:
    """Activation relative to a typical top context, from a tenth to 1: weak firing says less about meaning."""
    activation = firing["activation"].to_numpy(float)
    top = activation[(firing["kind"] == Kind.TOP.value).to_numpy()]
    typical = float(np.median(top if len(top) else activation))
    return np.clip(activation / max(typical, 1e-9), _MIN_WEIGHT, 1.0)
