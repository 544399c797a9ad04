"""Pairs of features of near direction or common firing, from the rows of both, held in arrays."""

from __future__ import annotations

import numpy as np

from dashboards.app.tables import RunTables

_PAIRS = """
SELECT feature, other.feature AS other, other.cosine AS cosine, NULL::FLOAT AS jaccard
FROM (SELECT feature, unnest(neighbours) AS other FROM features)
UNION ALL
SELECT feature, other.feature, NULL, other.jaccard
FROM (SELECT feature, unnest(co_firing) AS other FROM features)
"""


class Relations:
    """For each feature the features that its row names, and those whose rows name it."""

    def __init__(self, tables: RunTables) -> None:
        pairs = tables.ask_frame(_PAIRS)
        one, two = (pairs[name].to_numpy(np.int32) for name in ("feature", "other"))
        cosine, jaccard = (pairs[name].to_numpy(np.float32, na_value=np.nan) for name in ("cosine", "jaccard"))
        feature = np.concatenate([one, two])
        order = np.argsort(feature, kind="stable")
        self._feature = feature[order]
        self._other = np.concatenate([two, one])[order]
        self._cosine, self._jaccard = (np.concatenate([part, part])[order] for part in (cosine, jaccard))

    def of(self, feature: int) -> dict[int, tuple[float | None, float | None]]:
        """Other feature → (cosine, Jaccard index), the largest told; None where neither row tells it."""
        low, high = np.searchsorted(self._feature, [feature, feature + 1])
        found: dict[int, tuple[float | None, float | None]] = {}
        for at in range(int(low), int(high)):
            other = int(self._other[at])
            if other == feature:
                continue
            before = found.get(other, (None, None))
            now = (_number(self._cosine[at]), _number(self._jaccard[at]))
            found[other] = (_larger(before[0], now[0]), _larger(before[1], now[1]))
        return found


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


def _larger(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)
