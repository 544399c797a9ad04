"""How much more often something is said where a feature fires than where it is quiet.

Log-odds with an informative Dirichlet prior and z-scores, after Monroe, Colaresi and Quinn, "Fightin' Words" (Political
Analysis 16:372, 2008), for yes/no attributes of contexts instead of word counts. Since an attribute may be in nearly
every context, the variance has the terms of the contexts without it too, which the original may leave out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence, Set
from dataclasses import dataclass

import numpy as np

#: Contexts that the prior is worth.
PRIOR_CONTEXTS = 2.0
_LEAST_RATE = 0.02


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
    """z of log odds(y_f / n_f) − log odds(y_q / n_q), with a prior at the pooled rate."""
    rate = np.clip((y_f + y_q) / max(n_f + n_q, 1e-9), _LEAST_RATE, 1 - _LEAST_RATE)
    yes, no = PRIOR_CONTEXTS * rate, PRIOR_CONTEXTS * (1 - rate)
    cells = (y_f + yes, n_f - y_f + no, y_q + yes, n_q - y_q + no)
    difference = np.log(cells[0] / cells[1]) - np.log(cells[2] / cells[3])
    return np.asarray(difference / np.sqrt(sum(1 / cell for cell in cells)))


def _matrix(contexts: Sequence[Set[Hashable]], place: dict[Hashable, int]) -> np.ndarray:
    has = np.zeros((len(contexts), len(place)))
    for row, attributes in enumerate(contexts):
        has[row, [place[attribute] for attribute in attributes]] = 1.0
    return has
