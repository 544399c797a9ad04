"""Side effects by finding: which other findings appear or vanish under steering, beside random directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from steering.experiments.reports import Arms, Label
from steering.schema import SIDE_EFFECT_COLUMNS
from steering.statistics import grouped_mean
from steering.tables import table_of


def side_effects_table(arms: Arms, *, seed: int = 0) -> pd.DataFrame:
    """A row an arm × other finding (:data:`steering.schema.SIDE_EFFECT_COLUMNS`), those that ever changed."""
    rows = [row for label in arms.reports for row in _of_arm(arms, label, seed)]
    seen = {(row["condition"], row["finding"]) for row in rows if row["added"] or row["removed"]}
    rows = [row for row in rows if (row["condition"], row["finding"]) in seen]
    for row in rows:
        random = [
            other["rate"]
            for other in rows
            if other["control"] == "random"
            and all(other[name] == row[name] for name in ("condition", "strength", "finding"))
        ]
        row["random_rate"] = float(np.mean(random)) if random else float("nan")
        row["random_rate_high"] = max(random, default=float("nan"))
    return table_of(rows, SIDE_EFFECT_COLUMNS)


def _of_arm(arms: Arms, label: Label, seed: int) -> list[dict[str, Any]]:
    condition, control, draw, strength = label
    before, after = arms.baseline(label), arms.reports[label]
    readable = [s for s in after if before[s].reading.parse_ok and after[s].reading.parse_ok]
    patients = [before[study].patient for study in readable]
    was = [before[study].present(arms.others) for study in readable]
    now = [after[study].present(arms.others) for study in readable]
    rows = []
    for finding in arms.others:
        changed_n = np.array([(finding in w) != (finding in n) for w, n in zip(was, now, strict=True)], dtype=float)
        if changed_n.any():
            mean, low, high = grouped_mean(changed_n, patients, seed=seed, resamples=500)
        else:
            mean = low = high = 0.0 if len(readable) else float("nan")
        rows.append(
            {"condition": condition, "control": control, "draw": draw, "strength": strength, "finding": finding}
            | {"n": len(readable), "rate": mean, "low": low, "high": high}
            | {
                "added": sum(finding in n - w for w, n in zip(was, now, strict=True)),
                "removed": sum(finding in w - n for w, n in zip(was, now, strict=True)),
            }
        )
    return rows
