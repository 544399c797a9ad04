"""Scoring the labels of a run and keeping the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from autointerp.explain import chosen_features, read_contexts
from autointerp.explainers.base import grouped
from autointerp.files import empty_frame, features_folder, labels_folder, read_frame, upsert
from autointerp.schema import CONTEXTS_FILE, EXPLANATIONS_FILE, SCORES_FILE, Split
from autointerp.scorers.detection import DetectionScorer, Label
from radiology.errors import InputError


def score_features(
    run_dir: str | Path,
    sae_name: str,
    scorer: DetectionScorer | None = None,
    explainer: str | None = None,
    features: Iterable[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Score labels and put the scores into ``scores.parquet``, in place of older ones of the same labels and scorer.

    Args:
        scorer: detection unless given.
        explainer: score the labels of this explainer; of all unless given.
        features: all that have a label unless given.
        progress: called with labels done and their total.

    Returns:
        The new scores, with the columns of :data:`autointerp.schema.SCORES`: two rows a label, one for hard and one
        for random negatives. Where a label or its contexts allow no score, ``n`` is 0 and ``note`` says why.

    Raises:
        InputError: there are no labels, or not of this explainer or these features.
    """
    scorer = scorer or DetectionScorer()
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
    rows = []
    todo = labels[labels["feature"].isin(numbers)]
    done = 0
    for name, own in labels.groupby("explainer"):
        parsed = {int(row.feature): Label.of(row) for row in own.itertuples()}
        others = list(parsed.values())
        for feature in np.intersect1d(own["feature"].to_numpy(), numbers).tolist():
            found = scorer.score(feature, parsed[feature], contexts[feature], others)
            rows += [row | {"explainer": name} for row in found]
            done += 1
            if progress is not None:
                progress(done, len(todo))
    frame = pd.DataFrame(rows)[empty_frame(SCORES_FILE).columns] if rows else empty_frame(SCORES_FILE)
    keys = ["feature", "explainer", "scorer", "negative_kind"]
    upsert(labels_folder(run_dir, sae_name) / SCORES_FILE, frame, keys)
    return frame
