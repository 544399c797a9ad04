"""Norms of stored rows: how large the tokens of each role are, where attention sinks begin, and which tokens they are.

Residual streams hold a few tokens whose norm is a hundred times the median (the first token, high-norm patches of
Dinov2). They dominate a squared error, so they are reported, and can be left out of training by ``max_norm``.

Norms are read shard by shard, however many rows a store has. Quantiles are exact nevertheless: floats of one sign lie
in the order of their bits, so rows are first counted by the upper half of these, and then, only where a quantile
falls, by the lower half.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from activations.hooks import canonical_site
from activations.roles import IMAGE_NAMES, Role
from activations.shard import OpenShards

if TYPE_CHECKING:
    from activations.store import ActivationStore

#: A row this many times larger than the median row of its role is called an outlier.
OUTLIER_TIMES = 10.0
#: Column of the table → quantile of the norms, linear between the two nearest rows (as numpy's).
QUANTILES = {
    "min": 0.0,
    "p01": 0.01,
    "p05": 0.05,
    "p25": 0.25,
    "median": 0.5,
    "p75": 0.75,
    "p95": 0.95,
    "p99": 0.99,
    "p999": 0.999,
    "max": 1.0,
}
#: Places at which most outliers are, so many of each kind.
PLACES = 3
_ROLES = max(Role) + 1
_HALF = 1 << 16


def norm_table(store: ActivationStore, site: str, times: float = OUTLIER_TIMES) -> pd.DataFrame:
    """One row a role that the store holds, indexed by role name.

    Columns: ``rows``, ``mean``, ``rms``, the quantiles of :data:`QUANTILES` (L2 norms), ``outliers``, the number of
    rows whose norm is above ``times`` medians of their role, and ``outlier_share``, that number by ``rows``.
    """
    counts, sums, squares = np.zeros(_ROLES, np.int64), np.zeros(_ROLES), np.zeros(_ROLES)
    for norms, roles in _columns(store, site):
        counts += np.bincount(roles, minlength=_ROLES)
        sums += np.bincount(roles, norms, _ROLES)
        squares += np.bincount(roles, norms.astype(np.float64) ** 2, _ROLES)
    quantiles = _quantiles(lambda: _columns(store, site), counts)
    limits = np.full(_ROLES, np.inf)
    limits[list(quantiles)] = [times * of["median"] for of in quantiles.values()]
    outliers = np.zeros(_ROLES, np.int64)
    for norms, roles in _columns(store, site):
        outliers += np.bincount(roles[norms > limits[roles]], minlength=_ROLES)
    table = {
        Role(role).name.lower(): {
            "rows": int(counts[role]),
            "mean": float(sums[role] / counts[role]),
            "rms": float(np.sqrt(squares[role] / counts[role])),
            **quantiles[role],
            "outliers": int(outliers[role]),
            "outlier_share": float(outliers[role] / counts[role]),
        }
        for role in quantiles
    }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("role")


def outlier_limit(store: ActivationStore, site: str, times: float = OUTLIER_TIMES) -> float:
    """A value for ``max_norm``: ``times`` the median norm of the role that has the largest.

    The largest, because image tokens are often forty times as long as report tokens: a limit from the median of all
    rows would drop one role whole. Special tokens count only if nothing else is stored: the start token is itself the
    sink that the limit is to catch.
    """
    return limit_of(norm_table(store, site, times), times)


def limit_of(table: pd.DataFrame, times: float = OUTLIER_TIMES) -> float:
    """:func:`outlier_limit` from a table that is there already."""
    medians = table["median"]
    content = medians.drop(Role.SPECIAL.name.lower(), errors="ignore")
    return times * float((content if len(content) else medians).max())


def outlier_places(
    store: ActivationStore, site: str, table: pd.DataFrame, times: float = OUTLIER_TIMES
) -> dict[str, dict[str, Any]]:
    """Role → where its outliers sit, in JSON types: an attention sink is always at the same place.

    Counted are the rows above ``times`` medians of their role, as in ``table``, and those above :func:`outlier_limit`:
    where most special tokens are sinks, no sink stands out among them. ``rows`` is their number, ``position``,
    ``token_id`` and ``patch`` are the three places of that kind with the most of them, ``{"at": …, "rows": …}``; a
    patch is ``{"image", "row", "col"}``. Roles without such rows are left out.
    """
    limits = np.full(_ROLES, limit_of(table, times))
    for name, median in table["median"].items():
        role = Role[str(name).upper()]
        limits[role] = min(limits[role], times * median)
    kinds = ("position", "token_id", "patch")
    found: dict[int, dict[str, Counter[Any]]] = {}
    columns = ["position", "token_id", "image", "row", "col"]
    for norms, roles, positions, token_ids, *patches in _columns(store, site, columns):
        for i in np.flatnonzero(norms > limits[roles]):
            of_role = found.setdefault(int(roles[i]), {kind: Counter() for kind in kinds})
            of_role["position"][int(positions[i])] += 1
            of_role["token_id"][int(token_ids[i])] += 1
            if patches[0][i] >= 0:
                of_role["patch"][tuple(int(column[i]) for column in patches)] += 1
    return {Role(role).name.lower(): _most(found[role]) for role in sorted(found)}


def _most(counts: Mapping[str, Counter[Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {"rows": counts["position"].total()}
    for kind, counter in counts.items():
        most = sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:PLACES]
        told[kind] = [{"at": _patch(*at) if kind == "patch" else at, "rows": rows} for at, rows in most]
    return told


def _patch(image: int, row: int, col: int) -> dict[str, Any]:
    return {"image": IMAGE_NAMES[image] if image < len(IMAGE_NAMES) else str(image), "row": row, "col": col}


def _columns(store: ActivationStore, site: str, others: Sequence[str] = ()) -> Iterator[list[np.ndarray]]:
    """Norms at a site, roles, and other token columns, each (n,), by shard; rows of unknown roles are left out."""
    store.width(site)
    shards = store.manifest.shards
    with closing(OpenShards([store.directory / shard.file for shard in shards])) as files:
        for number in range(len(shards)):
            paths = [f"norms/{canonical_site(site)}", *(f"tokens/{name}" for name in ("role", *others))]
            read = [files.read(number, path, slice(None)) for path in paths]
            known = read[1] < _ROLES
            yield read if known.all() else [column[known] for column in read]


def _quantiles(columns: Callable[[], Iterator[list[np.ndarray]]], counts: np.ndarray) -> dict[int, dict[str, float]]:
    """Role → name → quantile, exact; goes through norms and roles twice.

    Args:
        columns: starts going through (norms, roles).
        counts: rows of each role; roles without any are left out.
    """
    upper = np.zeros((_ROLES, _HALF), np.int64)
    for norms, roles in columns():
        np.add.at(upper, (roles, norms.view(np.uint32) >> 16), 1)
    ranks = {
        role: {name: q * (counts[role] - 1) for name, q in QUANTILES.items()}
        for role in np.flatnonzero(counts).tolist()
    }
    ends = upper.cumsum(axis=1)
    slots: dict[tuple[int, int], int] = {}  # (role, upper half) in which a wanted rank falls → row of ``lower``
    for role, wanted in ranks.items():
        for rank in {int(r) for w in wanted.values() for r in (np.floor(w), np.ceil(w))}:
            slots.setdefault((role, int(np.searchsorted(ends[role], rank, side="right"))), len(slots))
    slot_of = np.full((_ROLES, _HALF), -1, np.int32)
    for key, slot in slots.items():
        slot_of[key] = slot
    lower = np.zeros((len(slots), _HALF), np.int32)
    for norms, roles in columns():
        bits = norms.view(np.uint32)
        slot_n = slot_of[roles, bits >> 16]
        np.add.at(lower, (slot_n[slot_n >= 0], bits[slot_n >= 0] & (_HALF - 1)), 1)

    def norm_at(role: int, rank: int) -> float:
        high = int(np.searchsorted(ends[role], rank, side="right"))
        before = int(ends[role, high] - upper[role, high])
        low = int(np.searchsorted(lower[slots[role, high]].cumsum(), rank - before, side="right"))
        return float(np.array(high << 16 | low, np.uint32).view(np.float32))

    def between(role: int, rank: float) -> float:
        below, above = (norm_at(role, int(edge)) for edge in (np.floor(rank), np.ceil(rank)))
        return below + (above - below) * (rank - np.floor(rank))

    return {role: {name: float(between(role, rank)) for name, rank in wanted.items()} for role, wanted in ranks.items()}
