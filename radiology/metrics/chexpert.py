"""Agreement in the fourteen observations of CheXpert (Irvin et al. 2019, arXiv 1901.07031), read by our own rules.

It is not the CheXbert score of papers: the labels come from :func:`radiology.read_report`, not from their network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from radiology.findings import read_report
from radiology.findings_labels import chexpert_labels
from radiology.metrics.bootstrap import DRAWS, Interval, bootstrap, nan_mean, share
from radiology.vocabulary import CHEXPERT_CONCEPTS

if TYPE_CHECKING:
    from radiology.study import Status

#: The five that most papers report beside the fourteen.
FIVE = ("atelectasis", "cardiomegaly", "consolidation", "pulmonary_edema", "pleural_effusion")


def chexpert_statuses(text: str) -> dict[str, Status]:
    """Observation → present, uncertain or absent, for those that the report speaks of; an empty report has none."""
    return chexpert_labels(read_report(text)) if text.strip() else {}


def label_matrix(texts: Sequence[str], uncertain_counts: bool = True) -> np.ndarray:
    """(texts, 14) of whether an observation is there; uncertain counts as there unless told otherwise."""
    there = {"present", "uncertain"} if uncertain_counts else {"present"}
    rows = [[statuses.get(key) in there for key in CHEXPERT_CONCEPTS] for statuses in map(chexpert_statuses, texts)]
    return np.array(rows, dtype=bool).reshape(len(texts), len(CHEXPERT_CONCEPTS))


def chexpert_f1(candidate: np.ndarray, reference: np.ndarray, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Micro and macro F1 over all fourteen and over the five, and F1 of each observation, with intervals.

    ``candidate`` and ``reference`` are (studies, 14) label matrices. An observation that neither side has in any study
    is NaN and left out of the macro mean.
    """
    true, wrong, missed = candidate & reference, candidate & ~reference, ~candidate & reference
    five = [CHEXPERT_CONCEPTS.index(key) for key in FIVE]

    def aggregate(rows: np.ndarray) -> dict[str, float]:
        tp, fp, fn = (table[rows].sum(axis=0) for table in (true, wrong, missed))
        each = np.array([share(2 * t, 2 * t + f + m) for t, f, m in zip(tp, fp, fn, strict=True)])
        return {
            "micro_f1": share(2 * tp.sum(), (2 * tp + fp + fn).sum()),
            "macro_f1": nan_mean(each),
            "micro_f1_5": share(2 * tp[five].sum(), (2 * tp + fp + fn)[five].sum()),
            "macro_f1_5": nan_mean(each[five]),
            **dict(zip(CHEXPERT_CONCEPTS, each.tolist(), strict=True)),
        }

    return bootstrap(aggregate, len(reference), draws, seed)


def study_f1(candidate: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """F1 (studies,) over the observations of one study each; NaN where neither side has any."""
    both = (candidate & reference).sum(axis=1)
    either = candidate.sum(axis=1) + reference.sum(axis=1)
    return np.divide(2.0 * both, either, out=np.full(len(both), np.nan), where=either > 0)
