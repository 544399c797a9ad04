"""Which features carry a finding, and which studies leave room to steer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from interp.pooling import encode_rows, pool
from interp.run import Run
from interp.token_sets import frontal_tokens
from radiology.errors import InputError

#: Features that fire in fewer studies of the finding than this share are no carriers of it.
MIN_SHARE = 0.2


@dataclass(frozen=True)
class Carriers:
    """Features that are more active on the frontal image where a finding is present, strongest first.

    ``difference`` is the mean activation with minus without the finding, over frontal tokens of the select half.
    """

    finding: str
    features: tuple[int, ...]
    difference: tuple[float, ...]


def carriers(run: Run, name: str, findings: list[str], n: int, *, seed: int = 0) -> Mapping[str, Carriers]:
    """The ``n`` features of largest mean-activation difference for each finding, found on one half of the patients.

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
        difference_f = pooled.features_mean_sf[positive_s].mean(0) - pooled.features_mean_sf[negative_s].mean(0)
        share_f = (pooled.features_mean_sf[positive_s] > 0).mean(0)
        difference_f = np.where(share_f >= MIN_SHARE, difference_f, -np.inf)
        order = [int(f) for f in np.argsort(-difference_f, kind="stable")[:n] if difference_f[f] > 0]
        if not order:
            raise InputError(f"finding {finding!r}: no feature of SAE {name!r} is more active where it is present")
        found[finding] = Carriers(finding, tuple(order), tuple(float(difference_f[f]) for f in order))
    return found


def room_for(run: Run, finding: str, goal: str, n: int, *, seed: int = 0, terms: str | None = None) -> list[str]:
    """Ids of studies of the report half where the finding is absent (goal ``present``) or present (goal ``absent``).

    Args:
        n: at most so many.
        terms: only studies of these terms.

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
    ids = frame["study_id"][keep_s].tolist()[:n]
    if not ids:
        raise InputError(f"finding {finding!r}: no study of the report half leaves room for goal {goal!r}")
    return ids
