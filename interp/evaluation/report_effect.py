"""What splicing does to the report: greedy reports with and without the SAE's reconstruction in place of the residual.

The clean report of the same study is the reference, not the truth: the question is whether the model still says what
it said. Beside it stand the mean of all such tokens, a random error of the same length
(:mod:`interp.evaluation.splicing`), and the clean report of another study, which shows how much two reports agree by
saying what is common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.evaluation.fidelity import ways
from interp.evaluation.splicing import Place, mean_residual, replacing

if TYPE_CHECKING:
    from activations.models.base import ReportModel
    from radiology.study import Study
    from sae.model import MatryoshkaSAE

OTHER = "other_study"


def report_effect(
    model: ReportModel,
    sae: MatryoshkaSAE,
    place: Place,
    studies: Sequence[Study],
    *,
    batch: int = 16,
    max_new_tokens: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The section ``reports`` of ``docs/evaluation.md``: way of splicing → findings kept and added.

    Raises:
        ValueError: no studies, or no token of the roles is in their prompts.
    """
    if not studies:
        raise ValueError("report effect: no studies")
    batches = [model.encode_batch(studies[start : start + batch]) for start in range(0, len(studies), batch)]
    replacements = ways(sae, mean_residual(model, place, batches), seed)
    texts: dict[str, list[str]] = {name: [] for name in replacements}
    finished = 0
    for inputs in batches:
        for name, replace in replacements.items():
            with replacing(model, place, inputs, replace):
                written = model.generate(inputs, max_new_tokens=max_new_tokens)
            texts[name] += [one.text for one in written]
            finished += sum(one.finished for one in written) if replace is None else 0
        if progress is not None:
            progress(len(texts["clean"]), len(studies))
    clean = texts.pop("clean")
    texts[OTHER] = [*clean[1:], clean[0]]
    patients = np.array([study.patient_id for study in studies])
    return {
        "studies": len(studies),
        "patients": len(set(patients.tolist())),
        "finished": finished,
        "findings": sum(len(present(text)) for text in clean),
        "ways": {name: agreement(clean, spliced, patients, seed) for name, spliced in texts.items()},
    }


def present(report: str) -> frozenset[tuple[str, str]]:
    """Findings that a report says are there, as (concept, side); the side is empty where none is told."""
    from radiology.findings import read_report, sides_of

    said = [finding for finding in read_report(report) if finding.status == "present"]
    return frozenset((finding.concept, side) for finding in said for side in sides_of(finding) or ("",))


def agreement(
    before: Sequence[str], after: Sequence[str], patients: Sequence[str] | np.ndarray, seed: int = 0
) -> dict[str, float]:
    """How much of some reports is in others of the same studies; intervals over patients.

    Returns:
        kept: of the findings present in the reports before, the share present in those after.
        added: of the findings present in the reports after, the share not present in those before.
        same_findings: share of reports that say the same of every finding, status, side, severity and change included.
        same_text: share of reports that are equal word for word.
        Each but the last with ``_low`` and ``_high``; NaN where there are no findings.
    """
    from radiology.compare import compare
    from sae.ranking import group_weights, percentile_interval

    counts: dict[str, tuple[list[float], list[float]]] = {
        "kept": ([], []),
        "added": ([], []),
        "same_findings": ([], []),
    }
    for old, new in zip(before, after, strict=True):
        then, now = present(old), present(new)
        for name, hits, total in (
            ("kept", len(then & now), len(then)),
            ("added", len(now - then), len(now)),
            ("same_findings", int(not compare(old, new).findings_differ), 1),
        ):
            counts[name][0].append(hits)
            counts[name][1].append(total)
    weights_bs = np.concatenate([np.ones((1, len(before))), group_weights(patients, seed=seed)])
    found: dict[str, float] = {}
    for name, (hits_s, total_s) in counts.items():
        total_b = weights_bs @ np.array(total_s, dtype=float)
        share_b = np.where(total_b > 0, weights_bs @ np.array(hits_s, dtype=float) / np.maximum(total_b, 1), np.nan)
        low, high = percentile_interval(share_b[1:])
        found |= {name: float(share_b[0]), f"{name}_low": low, f"{name}_high": high}
    return found | {"same_text": float(np.mean([old == new for old, new in zip(before, after, strict=True)]))}
