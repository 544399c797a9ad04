"""Intruder: of four contexts in which the feature fires and one in which it is quiet, which one does not belong?

No label is needed: the score says whether the feature has one meaning that the judge can see. After Paulo and Belrose,
"Evaluating SAE interpretability without explanations" (arXiv 2507.08473), here with hard negatives apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from autointerp.schema import POSITIVE_KINDS
from autointerp.scorers.base import AGAINST, NAN, Asked, Judge, against, no_score
from autointerp.scorers.measures import REPEATS
from autointerp.scorers.rules import RuleJudge

#: Firing contexts of a group.
N_FIRING = 4
_BOUNDS = (0.025, 0.975)


@dataclass(frozen=True)
class IntruderScorer:
    """Shares of groups whose intruder was found, in the column ``balanced_accuracy``; the baseline is chance (0.2).

    A group in which the judge cannot tell counts as chance. ``n`` is the number of groups, one for each negative.
    """

    judge: Judge = field(default_factory=RuleJudge)
    seed: int = 0

    @property
    def name(self) -> str:
        return f"intruder:{self.judge.name}" if self.judge.name else "intruder"

    def score_all(self, asked: Sequence[Asked]) -> Iterator[list[dict[str, Any]]]:
        groups: list[pd.DataFrame] = []
        places: list[tuple[int, str, int]] = []  # label, kind of negative, row of the intruder
        for number, one in enumerate(asked):
            for kind, group, intruder in self._groups(one):
                groups.append(group)
                places.append((number, kind, intruder))
        found: dict[tuple[int, str], list[float]] = {}
        for index, pick in self.judge.intruders(groups):
            number, kind, intruder = places[index]
            right = 1 / (N_FIRING + 1) if pick is None else float(pick == intruder)
            found.setdefault((number, kind), []).append(right)
        for number, one in enumerate(asked):
            kinds = [kind for kind in AGAINST if kind in AGAINST[:2] or (number, kind) in found]
            yield [self._row(one, kind, np.array(found.get((number, kind), []))) for kind in kinds]

    def _groups(self, asked: Asked) -> Iterator[tuple[str, pd.DataFrame, int]]:
        contexts = asked.label.contexts(asked.contexts)
        rng = np.random.default_rng((self.seed, asked.feature, 3))
        fires = contexts["kind"].isin([kind.value for kind in POSITIVE_KINDS]).to_numpy(bool)
        for modality in contexts["modality"].unique():
            alike = (contexts["modality"] == modality).to_numpy()
            firing = np.flatnonzero(fires & alike)
            if len(firing) < N_FIRING:
                continue
            for kind in AGAINST:
                for quiet in np.flatnonzero(against(contexts, kind) & alike & ~fires):
                    chosen = np.append(rng.choice(firing, N_FIRING, replace=False), quiet)
                    order = rng.permutation(N_FIRING + 1)
                    yield kind, contexts.iloc[chosen[order]], int(np.flatnonzero(order == N_FIRING)[0])

    def _row(self, asked: Asked, kind: str, right_n: np.ndarray) -> dict[str, Any]:
        row: dict[str, Any] = {"feature": asked.feature, "scorer": self.name, "negative_kind": kind}
        row |= {"model": self.judge.model}
        if len(right_n) == 0:
            return row | no_score("fewer than four firing contexts, or no such negatives, in the score split")
        rng = np.random.default_rng((self.seed, asked.feature, 4))
        means = right_n[rng.integers(0, len(right_n), (REPEATS, len(right_n)))].mean(axis=1)
        low, high = np.quantile(means, _BOUNDS)
        return (
            row
            | no_score("")
            | {
                "n": len(right_n),
                "n_patients": asked.contexts["patient_id"].nunique(),
                "balanced_accuracy": float(right_n.mean()),
                "balanced_accuracy_low": float(low),
                "balanced_accuracy_high": float(high),
                "baseline_balanced_accuracy": 1 / (N_FIRING + 1),
                "auc": NAN,
            }
        )
