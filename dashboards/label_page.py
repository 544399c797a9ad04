"""Labels of features: which explainer's label is shown, its scores, and the summary by concept and polarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from autointerp.schema import Kind, Polarity
from dashboards.data import RunData

_NO_CONCEPT = "no concept of the vocabulary"


class Labels:
    """One label a feature: of the explainer that labelled most features, an LLM's before an offline one on a tie.

    Args:
        explanations: rows of ``explanations.parquet`` or None.
        scores: rows of ``scores.parquet`` or None.
        reasoning: whether the explainers' reasoning may be shown.
    """

    def __init__(self, explanations: pd.DataFrame | None, scores: pd.DataFrame | None, reasoning: bool) -> None:
        self._reasoning = reasoning
        self._rows = _by_feature(explanations)
        self._scores = _by_feature(scores)
        self.main: str | None = None
        if explanations is not None and len(explanations):
            counts = explanations.groupby("explainer").agg(n=("feature", "nunique"), llm=("model", "count"))
            self.main = str(counts.sort_values(["n", "llm"], ascending=False).index[0])

    def of(self, feature: int) -> dict[str, Any] | None:
        """The shown label of a feature."""
        rows = self._rows.get(feature, [])
        return next((row for row in rows if row["explainer"] == self.main), rows[0] if rows else None)

    def others(self, feature: int) -> list[dict[str, Any]]:
        """Labels of the other explainers."""
        shown = self.of(feature)
        rows = [row for row in self._rows.get(feature, []) if row is not shown]
        return [{key: row[key] for key in ("label", "polarity", "explainer")} for row in rows]

    def scores_of(self, feature: int) -> list[dict[str, Any]]:
        """Scores of the shown label, hard negatives first."""
        shown = self.of(feature)
        rows = [row for row in self._scores.get(feature, []) if shown and row["explainer"] == shown["explainer"]]
        return [_score(row) for row in sorted(rows, key=lambda row: str(row["negative_kind"]))]

    def reasoning_of(self, feature: int) -> str | None:
        shown = self.of(feature)
        return shown["reasoning"] if shown and self._reasoning else None

    def hard_score(self, feature: int) -> dict[str, Any] | None:
        """The score against hard negatives, if there is one."""
        rows = [row for row in self.scores_of(feature) if row["negatives"] == Kind.HARD_NEGATIVE and row["n"]]
        return rows[0] if rows else None


def _by_feature(frame: pd.DataFrame | None) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in [] if frame is None else frame.astype(object).where(frame.notna(), None).to_dict("records"):
        found.setdefault(int(row["feature"]), []).append(row)
    return found


def _score(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "scorer": row["scorer"],
        "negatives": row["negative_kind"],
        "n": row["n"],
        "n_patients": row["n_patients"],
        "auc": row["auc"],
        "auc_low": row["auc_low"],
        "auc_high": row["auc_high"],
        "base_auc": row["baseline_auc"],
        "accuracy": row["balanced_accuracy"],
        "base_accuracy": row["baseline_balanced_accuracy"],
        "note": row["note"],
    }


def label_summary(run: RunData, labels: Labels) -> dict[str, Any] | None:
    """Counts of labelled features by concept and polarity, and their mean scores in words."""
    if run.explanations is None or labels.main is None:
        return None
    rows = run.explanations[run.explanations["explainer"] == labels.main]
    concepts = rows["concept"].fillna(_NO_CONCEPT)
    polarities = [str(polarity) for polarity in Polarity]
    table = pd.crosstab(concepts, rows["polarity"]).reindex(columns=polarities, fill_value=0)
    ordered = sorted(table.index, key=lambda name: (name == _NO_CONCEPT, name))
    return {
        "concepts": ordered,
        "polarities": polarities,
        "counts": table.loc[ordered].to_numpy().tolist(),
        "text": _sentence(run, rows, labels.main),
    }


def _sentence(run: RunData, rows: pd.DataFrame, explainer: str) -> str:
    text = f"The explainer “{explainer}” names a concept for {rows['concept'].notna().sum()} of {len(rows)} features."
    text += _agreement(run)
    if run.scores is None:
        return text
    scores = run.scores[(run.scores["explainer"] == explainer) & (run.scores["n"] > 0)]
    scores = scores[scores["scorer"] == "detection"]
    for kind in (Kind.HARD_NEGATIVE, Kind.RANDOM_NEGATIVE):
        auc = scores.loc[scores["negative_kind"] == kind, ["auc", "baseline_auc"]].mean()
        if auc["auc"] == auc["auc"]:
            against = str(kind).replace("_", " ")
            text += f" Mean AUC against {against}s {auc['auc']:.2f} (shuffled labels {auc['baseline_auc']:.2f})."
    return text


def _agreement(run: RunData) -> str:
    """How many labels are right, where the score stage could hold them against known truth."""
    for record in run.stages("score"):
        summary = record.get("summary")
        found = summary.get("agreement") if isinstance(summary, Mapping) else None
        if isinstance(found, Mapping) and found.get("n_features"):
            concept, polarity = (float(found.get(key) or 0) for key in ("right_concept", "right_polarity"))
            return (
                f" Of {found['n_features']} features that detect a known factor of the phantoms, {concept:.0%} are "
                f"labelled with the right concept and {polarity:.0%} with the right concept and polarity."
            )
    return ""
