"""Explaining the features of a run and keeping the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autointerp.explainers.base import Explainer, ExplainsMany, FeatureEvidence, grouped
from autointerp.files import empty_frame, features_folder, labels_folder, read_frame, read_table, upsert
from autointerp.schema import CONTEXTS, CONTEXTS_FILE, EXPLANATIONS_FILE, FEATURES_FILE, Split
from radiology.errors import InputError


def explain_features(
    run_dir: str | Path,
    sae_name: str,
    explainer: Explainer,
    features: Iterable[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Explain features and put their labels into ``explanations.parquet``, in place of older ones of this explainer.

    Args:
        features: all unless given.
        progress: called with features done and their total.

    Returns:
        The new explanations, with the columns of :data:`autointerp.schema.EXPLANATIONS`.

    Raises:
        InputError: the run has no feature table, or not these features.
    """
    folder = features_folder(run_dir, sae_name)
    table = read_frame(folder / FEATURES_FILE)
    chosen = chosen_features(table, features)
    records = table.set_index("feature", drop=False).loc[chosen].to_dict("records")
    with_maps = bool(getattr(explainer, "needs_maps", False))
    contexts = read_contexts(folder / CONTEXTS_FILE, Split.EXPLAIN, chosen, with_maps=with_maps)
    evidences = [
        FeatureEvidence(record, own) for record, (_, own) in zip(records, grouped(contexts, chosen), strict=True)
    ]
    if isinstance(explainer, ExplainsMany):
        explained = explainer.explain_all(evidences)
    else:
        explained = map(explainer.explain, evidences)
    rows: list[dict[str, Any]] = []
    try:
        for explanation in explained:
            rows.append(explanation.row())
            if progress is not None:
                progress(len(rows), len(chosen))
    finally:  # what was explained before a stop or a refusal is kept
        frame = pd.DataFrame(rows).sort_values("feature", ignore_index=True) if rows else empty_frame(EXPLANATIONS_FILE)
        upsert(labels_folder(run_dir, sae_name) / EXPLANATIONS_FILE, frame, ["feature", "explainer"])
    return frame


def chosen_features(table: pd.DataFrame, features: Iterable[int] | None) -> np.ndarray:
    """The given features in rising order, all of the table if None; InputError names those that do not exist."""
    known = table["feature"].to_numpy()
    if features is None:
        return np.sort(known)
    asked = np.unique(np.fromiter((int(feature) for feature in features), dtype=np.int64))
    unknown = asked[~np.isin(asked, known)]
    if len(unknown):
        raise InputError(f"features: {unknown[:8].tolist()} do not exist; there are {known.min()} … {known.max()}")
    return asked


def read_contexts(path: Path, split: Split, features: np.ndarray, with_maps: bool = False) -> pd.DataFrame:
    """The contexts of one split; without their maps unless asked for, all columns otherwise."""
    columns = [name for name in CONTEXTS.names if with_maps or name != "map"]
    table = read_table(path, columns, filters=[("split", "=", split.value)])
    frame: pd.DataFrame = table.to_pandas()
    return frame[frame["feature"].isin(features)]
