"""How much more often something is said where a feature fires than where it is quiet.

Likelihood-ratio test of the log-odds ratio, after Dunning, "Accurate methods for the statistics of surprise and
coincidence" (Computational Linguistics 19:61, 1993). The usual z of log-odds divides by a standard error that has one
over each count, and so finds little in what never occurs where a feature is quiet, however often it does where it
fires; that is the very finding a label should have.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence, Set
from dataclasses import dataclass

import numpy as np
from scipy.special import rel_entr


@dataclass(frozen=True)
class Contrast:
    """One attribute: the shares of firing and quiet contexts that have it, and the z-score of the log-odds ratio."""

    firing_share: float
    quiet_share: float
    z: float

    @property
    def reversed(self) -> Contrast:
        """The contrast of not having the attribute."""
        return Contrast(1 - self.firing_share, 1 - self.quiet_share, -self.z)


def contrasts(
    firing: Sequence[Set[Hashable]], quiet: Sequence[Set[Hashable]], weights: np.ndarray
) -> dict[Hashable, Contrast]:
    """The contrast of every attribute that some context has.

    Args:
        firing: attributes of each firing context.
        quiet: attributes of each quiet context.
        weights: (len(firing),) how much each firing context counts, from 0 to 1; quiet ones count 1.
    """
    attributes = list(
        dict.fromkeys(attribute for context in (*firing, *quiet) for attribute in sorted(context, key=str))
    )
    if not attributes:
        return {}
    place = {attribute: i for i, attribute in enumerate(attributes)}
    has_f, has_q = _matrix(firing, place), _matrix(quiet, place)
    y_f, y_q = weights @ has_f, has_q.sum(axis=0)
    n_f, n_q = float(weights.sum()), float(len(quiet))
    z = z_scores(y_f, n_f, y_q, n_q)
    return {
        attribute: Contrast(float(y_f[i] / max(n_f, 1e-9)), float(y_q[i] / max(n_q, 1e-9)), float(z[i]))
        for attribute, i in place.items()
    }


def z_scores(y_f: np.ndarray, n_f: float, y_q: np.ndarray, n_q: float) -> np.ndarray:
    """Signed root of the likelihood ratio: ±√(2 · Σ observed · log(observed / expected)), normal if rates are equal.

    Args:
        y_f, n_f: contexts with the attribute, and all contexts, where the feature fires (sums of weights).
        y_q, n_q: the same where it is quiet.
    """
    y_f, y_q = np.asarray(y_f, dtype=np.float64), np.asarray(y_q, dtype=np.float64)
    rate = (y_f + y_q) / max(n_f + n_q, 1e-9)
    cells = (y_f, n_f * rate), (n_f - y_f, n_f * (1 - rate)), (y_q, n_q * rate), (n_q - y_q, n_q * (1 - rate))
    ratio = sum(rel_entr(np.maximum(observed, 0.0), expected) for observed, expected in cells)
    sign = np.sign(y_f / max(n_f, 1e-9) - y_q / max(n_q, 1e-9))
    return np.asarray(sign * np.sqrt(2 * np.maximum(ratio, 0.0)))


def _matrix(contexts: Sequence[Set[Hashable]], place: dict[Hashable, int]) -> np.ndarray:
    has = np.zeros((len(contexts), len(place)))
    for row, attributes in enumerate(contexts):
        has[row, [place[attribute] for attribute in attributes]] = 1.0
    return has
