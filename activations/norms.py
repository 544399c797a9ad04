"""Norms of stored rows: how large the tokens of each role are, and where attention sinks begin.

Residual streams hold a few tokens whose norm is a hundred times the median (the first token, high-norm patches of
Dinov2). They dominate a squared error, so they are reported, and can be left out of training by ``max_norm``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from activations.roles import Role

if TYPE_CHECKING:
    from activations.store import ActivationStore

#: A row this many times larger than the median row of its role is called an outlier.
OUTLIER_TIMES = 10.0


def norm_table(store: ActivationStore, site: str, times: float = OUTLIER_TIMES) -> pd.DataFrame:
    """One row a role that the store holds, indexed by role name.

    Columns: ``rows``, ``mean``, ``rms``, ``median``, ``p99``, ``max`` (L2 norms), and ``outliers``, the number of rows
    whose norm is above ``times`` medians of their role.
    """
    norms, roles = store.norms(site), store.column("role")
    table = {}
    for role in Role:
        of_role = norms[roles == int(role)]
        if not len(of_role):
            continue
        median = float(np.median(of_role))
        table[role.name.lower()] = {
            "rows": len(of_role),
            "mean": float(of_role.mean()),
            "rms": float(np.sqrt(np.mean(of_role.astype(np.float64) ** 2))),
            "median": median,
            "p99": float(np.quantile(of_role, 0.99)),
            "max": float(of_role.max()),
            "outliers": int((of_role > times * median).sum()),
        }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("role")


def outlier_limit(store: ActivationStore, site: str, times: float = OUTLIER_TIMES) -> float:
    """A value for ``max_norm``: ``times`` the median norm of the role that has the largest.

    The largest, because image tokens are often forty times as long as report tokens: a limit from the median of all
    rows would drop one role whole. Special tokens count only if nothing else is stored: the start token is itself the
    sink that the limit is to catch.
    """
    medians = norm_table(store, site)["median"]
    content = medians.drop(Role.SPECIAL.name.lower(), errors="ignore")
    return times * float((content if len(content) else medians).max())
