"""Scoring the labels of a run and keeping the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autointerp.explain import chosen_features, read_contexts
from autointerp.explainers.base import grouped
from autointerp.files import empty_frame, features_folder, labels_folder, read_frame, upsert, write_frame
from autointerp.schema import CONTEXTS_FILE, EXPLANATIONS_FILE, SCORES_FILE, Split
from autointerp.scorers.base import Asked, Label, Scorer
from autointerp.scorers.detection import DetectionScorer
from autointerp.scorers.significance import benjamini_hochberg
from radiology.errors import InputError

_KEYS = ["feature", "explainer", "scorer", "negative_kind"]


def score_features(
    run_dir: str | Path,
    sae_name: str,
    scorer: Scorer | None = None,
    explainer: str | None = None,
    features: Iterable[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Score labels and put the scores into ``scores.parquet``, in place of older ones of the same labels and scorer.

    Args:
        scorer: detection by rules unless given.
        explainer: score the labels of this explainer; of all unless given.
        features: all that have a label unless given.
        progress: called with labels done and their total.

    Returns:
        The new scores, with the columns of :data:`autointerp.schema.SCORES`: one row a label for hard negatives, one
        for random ones, and one for each kind of hard ones. Where a label or its contexts allow no score, ``n`` is 0
        and ``note`` says why.

    Raises:
        InputError: there are no labels, or not of this explainer or these features.
    """
    chosen: Scorer = scorer or DetectionScorer()
    labels = read_frame(labels_folder(run_dir, sae_name) / EXPLANATIONS_FILE)
    if explainer is not None:
        known = sorted(labels["explainer"].unique())
        labels = labels[labels["explainer"] == explainer]
        if len(labels) == 0:
            raise InputError(f"explainer: there are no labels of {explainer!r}; there are labels of {known}")
    numbers = chosen_features(labels, features)
    contexts = dict(
        grouped(read_contexts(features_folder(run_dir, sae_name) / CONTEXTS_FILE, Split.SCORE, numbers), numbers)
    )
    total = int(labels["feature"].isin(numbers).sum())
    rows: list[dict[str, Any]] = []
    done = 0
    try:
        for name, own in labels.groupby("explainer"):
            for found in chosen.score_all(_asked(own, numbers, contexts)):
                rows += [row | {"explainer": name} for row in found]
                done += 1
                if progress is not None:
                    progress(done, total)
    finally:  # what was scored before a stop or a refusal is kept
        frame = _kept(labels_folder(run_dir, sae_name) / SCORES_FILE, rows)
    return frame


def _asked(labels: pd.DataFrame, numbers: np.ndarray, contexts: dict[int, pd.DataFrame]) -> list[Asked]:
    parsed = {int(row.feature): Label.of(row) for row in labels.itertuples()}
    others = list(parsed.values())
    chosen = np.intersect1d(labels["feature"].to_numpy(), numbers).tolist()
    return [Asked(feature, parsed[feature], contexts[feature], others) for feature in chosen]


def _kept(path: Path, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Write the rows, and q anew over all that now stand in the table; gives the rows with it."""
    if not rows:
        frame = empty_frame(SCORES_FILE)
        upsert(path, frame, _KEYS)
        return frame
    whole = upsert(path, pd.DataFrame(rows)[empty_frame(SCORES_FILE).columns], _KEYS)
    whole["q"] = whole.groupby(["explainer", "scorer", "negative_kind"])["p"].transform(
        lambda p: benjamini_hochberg(p.to_numpy(float))
    )
    write_frame(path, whole)
    whole = read_frame(path)
    new = pd.MultiIndex.from_frame(pd.DataFrame(rows)[_KEYS])
    return whole[pd.MultiIndex.from_frame(whole[_KEYS]).isin(new)].reset_index(drop=True)
