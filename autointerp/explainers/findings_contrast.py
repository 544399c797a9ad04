"""Which finding, with which polarity, tells the contexts where a feature fires from those where it is quiet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autointerp.explainers.evidence import Contrast, contrasts
from autointerp.reading import Reading, said
from autointerp.schema import Polarity

#: A label needs a z-score that chance does not give among some sixty statements of two polarities on images and on
#: sentences (two-sided 5 %, Bonferroni) …
MIN_Z = 3.7
#: … or this one when the contexts of strongest activation are looked at after all of them (twice as many trials).
MIN_Z_STRONGEST = 3.9
#: … and must fit this share of the firing contexts, and clearly fewer of the quiet ones.
MIN_SHARE, MIN_SHARE_ABSENT, MIN_DIFFERENCE = 0.5, 0.8, 0.25
#: A side belongs to the label when it covers nearly all of the concept and the other side does not.
_SIDE_COVERS, _SIDE_LEAD, _SIDE_LEAD_WITH_PATCHES = 0.75, 0.4, 0.2
#: "Any finding of this status" wins over a single finding when it covers this much more.
_ANY_LEAD = 0.3

LEFT_AND_RIGHT = ("left", "right")

Findings = Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Found:
    """A meaning and its evidence; ``concept`` is ``None`` for "any finding of this polarity"."""

    concept: str | None
    side: str | None
    polarity: Polarity
    contrast: Contrast

    @property
    def is_lateralised(self) -> bool:
        """Whether the label names left or right; its contrast is then of the pictures that show a side."""
        return self.side in LEFT_AND_RIGHT


@dataclass(frozen=True)
class Images:
    """Readings of the reports of n images, and which of the images show left and right apart (lateral ones do not)."""

    findings: Findings
    shows_side: np.ndarray

    @property
    def with_sides(self) -> Findings:
        return [found for found, shown in zip(self.findings, self.shows_side, strict=True) if shown]


def finding_in_images(
    firing: Images, quiet: Images, weights: np.ndarray, patch_side: str | None, min_z: float = MIN_Z
) -> Found | None:
    """The finding of whole reports that marks the images in which a feature fires.

    A hedged finding counts as present. One that a report negates or does not name is absent. Left and right are told
    by the images that show them only.

    Args:
        firing, quiet: what each context's report says.
        weights: how much each firing context counts.
        patch_side: side of the patient on which the feature fires, if on one.
        min_z: least z-score.
    """
    table = _table(firing.findings, quiet.findings, weights)
    frontal = _table(firing.with_sides, quiet.with_sides, weights[firing.shows_side])
    sides = {key: c for key, c in frontal.items() if key.rpartition(":")[2] in LEFT_AND_RIGHT}
    table = {key: c for key, c in table.items() if key.rpartition(":")[2] not in LEFT_AND_RIGHT} | sides
    found: list[Found] = []
    for key, contrast in table.items():
        concept, _, side = key.partition(":")
        if _is_clear(contrast, MIN_SHARE, min_z):
            found.append(Found(concept, side or None, Polarity.PRESENT, contrast))
        if not side and _is_clear(contrast.reversed, MIN_SHARE_ABSENT, min_z):
            found.append(Found(concept, None, Polarity.ABSENT, contrast.reversed))
    best = max(found, key=lambda one: (one.contrast.z, one.side is None), default=None)
    if best is None or best.polarity is Polarity.ABSENT:
        return best
    plain = frontal.get(str(best.concept)) if sides else None
    return _with_side(best, table, plain, patch_side)


def finding_in_sentences(firing: Findings, quiet: Findings, weights: np.ndarray, min_z: float = MIN_Z) -> Found | None:
    """The statement that marks the sentences in which a feature fires; polarity is that of the sentence."""
    raw = contrasts(_statements(firing), _statements(quiet), weights)
    clear = {Reading.parse(str(text)): c for text, c in raw.items() if _is_clear(c, MIN_SHARE, min_z)}
    named = [
        Found(reading.concept, reading.side, Polarity(reading.status), contrast)
        for reading, contrast in clear.items()
        if reading.concept != _ANY
    ]
    best = max(named, key=lambda one: (one.contrast.z, one.side is None), default=None)
    if best is not None:
        table = {str(text).rpartition("=")[0]: c for text, c in raw.items() if str(text).endswith(f"={best.polarity}")}
        best = _with_side(best, table, None, None)
    kinds = [
        Found(None, None, Polarity(reading.status), contrast)
        for reading, contrast in clear.items()
        if reading.concept == _ANY and reading.status != Polarity.PRESENT
    ]
    kind = max(kinds, key=lambda one: one.contrast.z, default=None)
    covered = 0.0 if best is None else best.contrast.firing_share
    return kind if kind is not None and kind.contrast.firing_share >= covered + _ANY_LEAD else best


_ANY = "any"


def _table(firing: Findings, quiet: Findings, weights: np.ndarray) -> dict[str, Contrast]:
    return {str(key): c for key, c in contrasts(_seen(firing), _seen(quiet), weights).items()}


def _seen(contexts: Findings) -> list[frozenset[str]]:
    """Keys that each report calls present or uncertain. Changes are left out: a picture alone does not show them."""
    wanted = {Polarity.PRESENT, Polarity.UNCERTAIN}
    return [frozenset(key for key, told in said(tuple(found)).items() if told & wanted) for found in contexts]


def _statements(contexts: Findings) -> list[frozenset[str]]:
    statements = []
    for found in contexts:
        statuses = {Reading.parse(text).status for text in found}
        statements.append(frozenset(found) | {f"{_ANY}={status}" for status in statuses})
    return statements


def _is_clear(contrast: Contrast, min_share: float, min_z: float) -> bool:
    wide = contrast.firing_share - contrast.quiet_share >= MIN_DIFFERENCE
    return contrast.z >= min_z and contrast.firing_share >= min_share and wide


def _with_side(best: Found, table: dict[str, Contrast], where_told: Contrast | None, patch_side: str | None) -> Found:
    """The same concept with the side that the contexts share, or without one.

    Args:
        where_told: the contrast of the concept in the contexts that tell left and right; in all of them if None.
        patch_side: side of the patient on which the feature fires, if on one.
    """
    assert best.concept is not None
    plain = table.get(best.concept, best.contrast)
    for key, contrast in sorted(table.items(), key=lambda item: -item[1].z):
        concept, _, side = key.partition(":")
        if concept != best.concept or not side or contrast.z < MIN_Z:
            continue
        others = [c.firing_share for k, c in table.items() if k.startswith(f"{concept}:") and k != key]
        lead = contrast.firing_share - max(others, default=0.0)
        needed = _SIDE_LEAD_WITH_PATCHES if side == patch_side else _SIDE_LEAD
        whole = where_told if where_told is not None and side in LEFT_AND_RIGHT else plain
        if contrast.firing_share >= _SIDE_COVERS * whole.firing_share and lead >= needed:
            return Found(concept, side, best.polarity, contrast)
    return Found(best.concept, None, best.polarity, plain) if plain.z >= MIN_Z else best
