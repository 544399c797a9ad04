"""Splitting and absorption of the findings of a run, beside the random-weight control; see :mod:`sae.absorption`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from activations import StudyIndex
from interp.evaluation.pooling import Pooled
from interp.problems import Problem, Sides, Source, problems
from interp.subforms import Subforms
from sae.absorption import Absorption, absorption


def absorption_table(
    studies: StudyIndex,
    findings: Sequence[str],
    sides: Sides,
    *,
    tokens: str,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One row for each finding that has sub-forms.

    Args:
        findings: label keys; of ``pleural_effusion:left`` its concept is taken.
        tokens: token set on which features are scored (by their largest activation) and the probe reads (the mean).
    """
    known = set(studies.keys)
    concepts = [key for key in dict.fromkeys(finding.split(":")[0] for finding in findings) if key in known]
    subforms = Subforms(studies)
    forms_of = {concept: forms for concept in concepts if (forms := subforms.of(concept))}
    if not forms_of:
        return []
    found = problems(studies, list(forms_of), sides, token_sets=(tokens,), seed=seed)
    return [_row(problem, forms_of[problem.finding], sides, seed) for problem in found]


def _row(problem: Problem, forms: Mapping[str, np.ndarray], sides: Sides, seed: int) -> dict[str, Any]:
    row: dict[str, Any] = {"finding": problem.finding, "tokens": problem.tokens, "note": problem.note}
    if problem.main is None:
        return row
    found = _measured(problem, problem.main, sides.main, forms, seed)
    if found is None:
        return row | {"note": "no feature is higher where the finding is present"}
    row |= _figures(found) | {"forms": [asdict(form) for form in found.forms]}
    other = None
    if problem.control is not None and sides.control is not None:
        other = _measured(problem, problem.control, sides.control, forms, seed)
    return row | {"random": None if other is None else _figures(other)}


def _measured(
    problem: Problem, pooled: Pooled, source: Source, forms: Mapping[str, np.ndarray], seed: int
) -> Absorption | None:
    from sae.errors import SAEError

    directions_fd = source.sae.W_dec.detach().float().cpu().numpy()
    forms_n = {name: form_s[problem.rows_n] for name, form_s in forms.items()}
    scores_nf, mean_nd = problem.features(pooled), problem.residual(pooled, "mean")
    try:
        return absorption(scores_nf, mean_nd, directions_fd, problem.labels_n, forms_n, *problem.split[1:], seed=seed)
    except SAEError:
        return None


def _figures(found: Absorption) -> dict[str, Any]:
    return {
        "split": found.split,
        "main": found.main,
        "f1_by_k": found.f1_by_k,
        "cosines": found.cosines,
        "n": found.n,
        "silent": found.silent,
        "absorbed": found.absorbed,
        "rate": found.rate,
        "low": found.interval[0],
        "high": found.interval[1],
        "shuffled": found.shuffled,
        "shuffled_max": found.shuffled_max,
    }
