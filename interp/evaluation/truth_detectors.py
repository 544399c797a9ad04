"""Features of an SAE whose meaning is known from truth; labels of explainers are held against them.

What a feature of a picture detects is told by areas under the ROC curve over studies: its largest activation on the
frontal image against each known factor. That alone would call too much known. Two questions follow, each among the
studies where its answer is not foregone:

- **Which side?** Studies with the other side only are few among the negatives, so a feature that fires on both sides
  has a large area for either. The side counts as known only if the feature tells studies with this side only from those
  with the other side only.
- **Anything else?** Among studies without the finding the feature may detect another one just as well; then it has
  several meanings, and which one a label should name is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from activations import StudyIndex
from interp.problems import MIN_OF_CLASS, Sides
from sae.ranking import auroc_per_label


def detectors(
    studies: StudyIndex, findings: Sequence[str], sides: Sides, *, seed: int = 0, min_auroc: float = 0.9
) -> list[dict[str, Any]]:
    """Features that tell one finding from its absence on frontal image tokens.

    For each feature the finding and polarity of largest area are chosen on the select half; kept are features whose
    area for it is at least ``min_auroc`` on both halves. Rows:

    - ``feature``, ``key`` (``concept`` or ``concept:side``; the side only where it is proven), ``polarity``
      (``present``, or ``absent`` where the feature is active without the finding), ``auroc`` (of the report half);
    - ``others``: other concepts that it detects among studies without the first.
    """
    pooled = next(sides.pooled("image", findings[:1]), [None])[0]
    if pooled is None:
        return []
    table = _Areas(pooled.features("max"), studies.label_matrix(findings), list(findings))
    halves = [half & (pooled.counts_s > 0) for half in studies.halves(seed)]
    areas = [np.nan_to_num(table.all_areas(half), nan=0.5) for half in halves]
    best_f = np.abs(areas[0] - 0.5).argmax(axis=1)
    rows = []
    for feature, column in enumerate(best_f.tolist()):
        present = areas[0][feature, column] >= 0.5
        found = [area[feature, column] if present else 1 - area[feature, column] for area in areas]
        if min(found) < min_auroc:
            continue
        sign = 1.0 if present else -1.0
        proven = all(table.tells_side(feature, column, half, sign) >= min_auroc for half in halves)
        key = findings[column]
        rows.append(
            {
                "feature": feature,
                "key": key if proven else key.partition(":")[0],
                "polarity": "present" if present else "absent",
                "auroc": float(found[1]),
                "others": table.others(feature, column, halves[0] | halves[1], min_auroc),
            }
        )
    return rows


class _Areas:
    """Areas of features over parts of the studies; (S, F) scores and (S, K) labels, NaN where unknown."""

    def __init__(self, scores_sf: np.ndarray, labels_sk: np.ndarray, findings: list[str]) -> None:
        self._scores_sf, self._labels_sk, self._findings = scores_sf, labels_sk, findings
        self._concepts = [finding.partition(":")[0] for finding in findings]

    def all_areas(self, use_s: np.ndarray, feature: int | None = None) -> np.ndarray:
        """(F, K), or (1, K) of one feature; NaN where a class has too few studies."""
        scores_sf = self._scores_sf if feature is None else self._scores_sf[:, feature : feature + 1]
        areas = np.full((scores_sf.shape[1], len(self._findings)), np.nan)
        labelled_sk = ~np.isnan(self._labels_sk)
        for known_s in np.unique(labelled_sk, axis=1).T:
            columns = np.flatnonzero((labelled_sk == known_s[:, None]).all(axis=0))
            inside = use_s & known_s
            labels_sk = self._labels_sk[np.ix_(inside, columns)]
            enough = np.minimum(labels_sk.sum(axis=0), (1 - labels_sk).sum(axis=0)) >= MIN_OF_CLASS
            if inside.any() and enough.any():
                areas[:, columns[enough]] = auroc_per_label(scores_sf[inside], labels_sk[:, enough]).T
        return areas

    def tells_side(self, feature: int, column: int, half_s: np.ndarray, sign: float) -> float:
        """Area of this side only against the rest of the concept; 1 if the key has no side, 0 if it cannot be told."""
        concept, _, side = self._findings[column].partition(":")
        if not side:
            return 1.0
        this_s = self._labels_sk[:, column] == 1
        same = [k for k, other in enumerate(self._concepts) if other == concept and k != column]
        sided = [k for k in same if ":" in self._findings[k]] or same
        other_s = (self._labels_sk[:, sided] == 1).any(axis=1)
        # Of a device, badly placed ones against all others; of a pair of sides, the one against the other.
        use_s = half_s & ((this_s ^ other_s) if any(":" in self._findings[k] for k in sided) else other_s)
        label_s = this_s[use_s]
        if min(label_s.sum(), (~label_s).sum()) < MIN_OF_CLASS:
            return 0.0
        score_s1 = sign * self._scores_sf[use_s, feature : feature + 1]
        return float(auroc_per_label(score_s1, label_s[:, None].astype(float))[0, 0])

    def others(self, feature: int, column: int, use_s: np.ndarray, min_auroc: float) -> list[str]:
        """Concepts, other than that of the column, with such an area among studies without it."""
        concept = self._concepts[column]
        own = [k for k, other in enumerate(self._concepts) if other == concept]
        without_s = ~(self._labels_sk[:, own] == 1).any(axis=1)
        area_k = self.all_areas(use_s & without_s, feature)[0]
        strong = np.flatnonzero(np.maximum(area_k, 1 - area_k) >= min_auroc)
        return sorted({self._concepts[k] for k in strong} - {concept})
