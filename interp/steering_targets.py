"""Which features carry a finding, and which studies leave room to steer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from interp.evaluation.pooling import encode_rows, pool
from interp.evaluation.token_sets import frontal_tokens
from interp.run import Run
from radiology.errors import InputError
from sae.evaluation import auroc_per_feature
from steering.methods.contrast import carrier_weights


@dataclass(frozen=True)
class Carriers:
    """Features that carry a finding on the frontal image, those of most weight first.

    The weight is :func:`steering.methods.contrast.carrier_weights` of a study's mean activation over frontal tokens.
    """

    finding: str
    features: tuple[int, ...]
    weights: tuple[float, ...]


def carriers(run: Run, name: str, findings: list[str], n: int, *, seed: int = 0) -> Mapping[str, Carriers]:
    """The ``n`` features that carry each finding most, found on one half of the patients.

    Raises:
        InputError: a finding that the studies are not labelled with, or too few studies with or without it.
    """
    sae = run.sae_named(name)
    site = run.config_of(f"train-sae:{name}")["site"]
    studies = run.study_index
    labels_sk = studies.label_matrix(findings)
    select_s, _ = studies.halves(seed)
    with run.store as store:
        mask = frontal_tokens(store)
        pooled = pool(store, site, encode_rows(store, site, sae, mask), mask, len(studies))
    found = {}
    for column, finding in enumerate(findings):
        label_s = labels_sk[:, column]
        usable_s = select_s & (pooled.counts_s > 0)
        positive_s, negative_s = usable_s & (label_s == 1), usable_s & (label_s == 0)
        if min(positive_s.sum(), negative_s.sum()) < 2:
            raise InputError(
                f"finding {finding!r}: {int(positive_s.sum())} studies with and {int(negative_s.sum())} without it "
                "in the select half; cache more studies"
            )
        weight_f = _weights(pooled.features_mean_sf[usable_s], label_s[usable_s])
        order = [int(f) for f in np.argsort(-weight_f, kind="stable")[:n] if weight_f[f] > 0]
        if not order:
            raise InputError(f"finding {finding!r}: no feature of SAE {name!r} is more active where it is present")
        found[finding] = Carriers(finding, tuple(order), tuple(float(weight_f[f]) for f in order))
    return found


def _weights(means_sf: np.ndarray, label_s: np.ndarray) -> np.ndarray:
    """Weight of every feature from the mean activations of studies, (F,)."""
    known_s = ~np.isnan(label_s)
    means_sf, positive_s = means_sf[known_s], label_s[known_s] == 1
    difference_f = means_sf[positive_s].mean(0) - means_sf[~positive_s].mean(0)
    share_f = (means_sf[positive_s] > 0).mean(0)
    return carrier_weights(difference_f, auroc_per_feature(means_sf, positive_s), share_f)


def room_for(
    run: Run,
    finding: str,
    goal: str,
    n: int,
    *,
    seed: int = 0,
    terms: str | None = None,
    with_prior: bool = False,
) -> list[str]:
    """Ids of studies of the report half where the finding is absent (goal ``present``) or present (goal ``absent``).

    Args:
        n: at most so many.
        terms: only studies of these terms.
        with_prior: only studies with an earlier image.

    Raises:
        InputError: there is no such study.
    """
    studies = run.study_index
    frame = studies.frame
    _, report_s = studies.halves(seed)
    label_s = studies.label_matrix([finding])[:, 0]
    keep_s = report_s & (label_s == (0 if goal == "present" else 1))
    if terms is not None:
        keep_s &= (frame["terms"] == terms).to_numpy()
    if with_prior:
        keep_s &= _has_prior(run)
    ids = frame["study_id"][keep_s].tolist()[:n]
    if not ids:
        which = "no study with an earlier image" if with_prior else "no study"
        raise InputError(f"finding {finding!r}: {which} of the report half leaves room for goal {goal!r}")
    return ids


def _has_prior(run: Run) -> np.ndarray:
    """Which studies have an earlier frontal image, (studies,) bool; read a row group at a time."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(run.studies_path)
    column = "preview_prior_frontal"
    groups = (file.read_row_group(number, columns=[column]) for number in range(file.num_row_groups))
    return np.concatenate([group.column(column).is_valid().to_numpy() for group in groups])
