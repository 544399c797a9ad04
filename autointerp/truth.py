"""Do labels agree with what is known to be true? Only phantoms can tell: there every factor of a picture is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from autointerp.schema import Polarity
from radiology.errors import InputError

#: A feature is the detector of a factor from this AUROC on.
MIN_AUROC = 0.9


@dataclass(frozen=True)
class TruthAgreement:
    """How labels of features with a known meaning compare with it. Shares are NaN if there are no such features.

    Attributes:
        n_features: features that detect one factor and no other.
        n_labelled: of these, features whose label names a concept.
        right_concept: share of ``n_features`` with the right concept.
        right_polarity: share with the right concept and the right polarity.
        right_side: share with the right concept, polarity and side, among features whose factor has a side.
        n_sided: features whose factor has a side.
        n_several: features that detect a factor and others besides: which one a label should name is not known.
        names_one: share of these whose label names one of the factors.
        table: one row a feature, those of several factors too: feature, key, known_polarity, others, auroc, label,
            concept, side, polarity and the verdicts against ``key``.
    """

    n_features: int
    n_labelled: int
    right_concept: float
    right_polarity: float
    right_side: float
    n_sided: int
    n_several: int
    names_one: float
    table: pd.DataFrame


def agreement(
    explanations: pd.DataFrame, detectors: pd.DataFrame, explainer: str = "contrast", min_auroc: float = MIN_AUROC
) -> TruthAgreement:
    """Compare the labels of one explainer with the factors that features detect.

    Args:
        explanations: rows of ``explanations.parquet``.
        detectors: columns ``feature``, ``key`` (a factor, ``concept`` or ``concept:side``) and ``auroc``; a feature
            may have several rows, its best one counts. ``polarity`` (present unless given) and ``others`` (concepts
            that it detects besides, none unless given) may be there.
        min_auroc: features below it are left out: what they mean is not known.

    Raises:
        InputError: a column is missing.
    """
    lacking = {"feature", "key", "auroc"} - set(detectors.columns)
    if lacking:
        raise InputError(f"detectors: columns {sorted(lacking)} are missing")
    best = detectors[detectors["auroc"] >= min_auroc].sort_values("auroc", ascending=False, kind="stable")
    best = best.drop_duplicates("feature").copy()
    best["known_polarity"] = best.get("polarity", Polarity.PRESENT.value)
    best["others"] = [list(one) for one in best["others"]] if "others" in best else [[] for _ in range(len(best))]
    best = best[["feature", "key", "known_polarity", "others", "auroc"]]
    own = explanations[explanations["explainer"] == explainer]
    columns = ["feature", "label", "concept", "side", "polarity"]
    table = best.merge(own[columns], on="feature", how="left").sort_values("feature", ignore_index=True)
    true_concept, true_side = (
        pd.Series([str(key).partition(":")[part] for key in table["key"]], index=table.index, dtype=object)
        for part in (0, 2)
    )
    table["concept_is_right"] = (table["concept"] == true_concept).fillna(False).astype(bool)
    same_polarity = (table["polarity"] == table["known_polarity"]).fillna(False).astype(bool)
    table["polarity_is_right"] = table["concept_is_right"] & same_polarity
    same_side = (table["side"].fillna("") == true_side).astype(bool)
    table["side_is_right"] = table["polarity_is_right"] & same_side
    one = table["others"].map(len) == 0
    single, several = table[one], table[~one]
    sided = single[true_side[one] != ""]
    names = [row.concept_is_right or row.concept in row.others for row in several.itertuples()]
    return TruthAgreement(
        n_features=len(single),
        n_labelled=int(single["concept"].notna().sum()),
        right_concept=float(single["concept_is_right"].mean()),
        right_polarity=float(single["polarity_is_right"].mean()),
        right_side=float(sided["side_is_right"].mean()),
        n_sided=len(sided),
        n_several=len(several),
        names_one=float(np.mean(names)) if names else float("nan"),
        table=table,
    )
