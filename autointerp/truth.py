"""Do labels agree with what is known to be true? Only phantoms can tell: there every factor of a picture is known."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from autointerp.schema import Polarity
from radiology.errors import InputError

#: A feature is the detector of a factor from this AUROC on.
MIN_AUROC = 0.9


@dataclass(frozen=True)
class TruthAgreement:
    """How labels of features with a known meaning compare with it. Shares are NaN if there are no such features.

    Attributes:
        n_features: features that detect one factor.
        n_labelled: of these, features whose label names a concept.
        right_concept: share of ``n_features`` with the right concept.
        right_polarity: share with the right concept and the right polarity.
        right_side: share with the right concept, polarity and side, among features whose factor has a side.
        table: one row a feature: feature, key, auroc, label, concept, side, polarity and the three verdicts.
    """

    n_features: int
    n_labelled: int
    right_concept: float
    right_polarity: float
    right_side: float
    table: pd.DataFrame


def agreement(
    explanations: pd.DataFrame, detectors: pd.DataFrame, explainer: str = "contrast", min_auroc: float = MIN_AUROC
) -> TruthAgreement:
    """Compare the labels of one explainer with the factors that features detect.

    Args:
        explanations: rows of ``explanations.parquet``.
        detectors: columns ``feature``, ``key`` (a factor, ``concept`` or ``concept:side``) and ``auroc``; a feature
            may have several rows, its best one counts.
        min_auroc: features below it are left out: what they mean is not known.

    Raises:
        InputError: a column is missing.
    """
    lacking = {"feature", "key", "auroc"} - set(detectors.columns)
    if lacking:
        raise InputError(f"detectors: columns {sorted(lacking)} are missing")
    best = detectors[detectors["auroc"] >= min_auroc].sort_values("auroc", ascending=False, kind="stable")
    best = best.drop_duplicates("feature")[["feature", "key", "auroc"]]
    own = explanations[explanations["explainer"] == explainer]
    columns = ["feature", "label", "concept", "side", "polarity"]
    table = best.merge(own[columns], on="feature", how="left").sort_values("feature", ignore_index=True)
    true_concept = pd.Series([str(key).partition(":")[0] for key in table["key"]], index=table.index, dtype=object)
    true_side = pd.Series([str(key).partition(":")[2] for key in table["key"]], index=table.index, dtype=object)
    table["concept_is_right"] = (table["concept"] == true_concept).fillna(False).astype(bool)
    affirmed = table["polarity"] == Polarity.PRESENT.value
    table["polarity_is_right"] = table["concept_is_right"] & affirmed.fillna(False).astype(bool)
    same_side = (table["side"].fillna("") == true_side).astype(bool)
    table["side_is_right"] = table["polarity_is_right"] & same_side
    sided = true_side != ""
    return TruthAgreement(
        n_features=len(table),
        n_labelled=int(table["concept"].notna().sum()),
        right_concept=float(table["concept_is_right"].mean()),
        right_polarity=float(table["polarity_is_right"].mean()),
        right_side=float(table["side_is_right"][sided].mean()),
        table=table,
    )
