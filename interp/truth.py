"""The truth table: which findings an SAE recovered, beside a linear probe and a random-weight control.

For each finding the best single feature is chosen on one half of the patients and measured on the other. The study's
score is the largest (or mean) activation of the feature over a token set. The normative text is ``docs/evaluation.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activations import ActivationStore, StudyIndex
from interp.pooling import Pooled, TokenCodes, encode_rows, pool
from interp.token_sets import before_mention, frontal_tokens, last_prompt_tokens, report_sentences
from sae.evaluation import auroc_per_feature, best_single_feature, linear_probe_auroc
from sae.model import MatryoshkaSAE

#: Token sets in the order of the table: name → pooling. ``image`` is the one that is summed up.
TOKEN_SETS: dict[str, str] = {
    "image": "max",
    "image (mean)": "mean",
    "last prompt token": "max",
    "report before mention": "max",
}
#: Studies of each class that each half must have; with fewer an area says nothing.
MIN_OF_CLASS = 2


@dataclass(frozen=True)
class Source:
    """A trained SAE and the store that it reads: of the model under study, or of its control."""

    directory: Path
    site: str
    sae: MatryoshkaSAE
    tokenizer: Any


@dataclass(frozen=True)
class TruthRow:
    """One finding on one token set. Areas are NaN, and ``note`` says why, where there are too few studies.

    Attributes:
        finding: label key.
        tokens, pool: token set, and how its tokens became one score a study.
        feature: best single feature, chosen on the select half.
        auroc, low, high: its area on the report half, with a 95 % bootstrap interval over patients.
        auroc_select: its area on the half it was chosen on (optimistic).
        probe, probe_low, probe_high: a linear probe on the residual, pooled alike.
        random, random_low, random_high, random_feature: the best feature of the control's SAE.
        random_probe: a linear probe on the control's residual.
        positives, negatives: studies of the report half.
    """

    finding: str
    tokens: str
    pool: str
    feature: int | None = None
    auroc: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    auroc_select: float = float("nan")
    probe: float = float("nan")
    probe_low: float = float("nan")
    probe_high: float = float("nan")
    random: float = float("nan")
    random_low: float = float("nan")
    random_high: float = float("nan")
    random_feature: int | None = None
    random_probe: float = float("nan")
    positives: int = 0
    negatives: int = 0
    note: str = ""


def truth_table(
    studies: StudyIndex,
    findings: Sequence[str],
    main: Source,
    control: Source | None,
    *,
    token_sets: Sequence[str] = tuple(TOKEN_SETS),
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[dict[str, Any]]:
    """Rows of :class:`TruthRow` as dicts, token set by token set.

    Args:
        studies: the index that both stores share; only labelled studies are used.
        findings: label keys.
        token_sets: of :data:`TOKEN_SETS`.
        main, control: what to measure; the control's columns are NaN without one.
        seed: of halves and bootstrap.
    """
    labels_sk = studies.label_matrix(findings)
    halves = studies.halves(seed)
    patients_s = studies.frame["patient_id"].to_numpy()
    sides = [_Side(source, len(studies)) for source in (main, control) if source is not None]
    rows: list[dict[str, Any]] = []
    total = len(token_sets) * len(findings)
    for tokens in token_sets:
        how = TOKEN_SETS[tokens]
        pooled_of = [side.pooled(tokens, findings) for side in sides]
        for column, finding in enumerate(findings):
            found = [next(pooled) for pooled in pooled_of]
            row = _row(finding, tokens, how, found, labels_sk[:, column], halves, patients_s, seed)
            rows.append(asdict(row))
            if progress is not None:
                progress(len(rows), total, f"{tokens}: {finding}")
    return rows


class _Side:
    """One source, encoded once."""

    def __init__(self, source: Source, n_studies: int) -> None:
        self._source, self._n_studies = source, n_studies
        self._store = ActivationStore(source.directory)
        self._sentences = report_sentences(self._store, source.tokenizer)

    def pooled(self, tokens: str, findings: Sequence[str]) -> Iterator[Pooled | None]:
        """For each finding what its studies look like on a token set; None if no such tokens are stored."""
        if tokens == "report before mention":
            return self._before_mention(findings)
        mask = last_prompt_tokens(self._store) if tokens == "last prompt token" else frontal_tokens(self._store)
        once = self._pool(self._encode(mask), mask) if mask.any() else None
        return iter([once] * len(findings))

    def _before_mention(self, findings: Sequence[str]) -> Iterator[Pooled | None]:
        if not self._sentences:
            yield from [None] * len(findings)
            return
        masks = {f: before_mention(self._store, self._sentences, f) for f in {f.split(":")[0] for f in findings}}
        codes = self._encode(np.logical_or.reduce(list(masks.values())))
        for finding in findings:
            yield self._pool(codes, masks[finding.split(":")[0]])

    def _encode(self, mask: np.ndarray) -> TokenCodes:
        return encode_rows(self._store, self._source.site, self._source.sae, mask)

    def _pool(self, codes: TokenCodes, mask: np.ndarray) -> Pooled:
        return pool(self._store, self._source.site, codes, mask, self._n_studies)


def _row(
    finding: str,
    tokens: str,
    how: str,
    found: Sequence[Pooled | None],
    labels_s: np.ndarray,
    halves: tuple[np.ndarray, np.ndarray],
    patients_s: np.ndarray,
    seed: int,
) -> TruthRow:
    main = found[0]
    if main is None:
        return TruthRow(finding, tokens, how, note="no such tokens are stored")
    usable_s = ~np.isnan(labels_s) & np.logical_and.reduce([p.counts_s > 0 for p in found if p is not None])
    select_s, report_s = (half & usable_s for half in halves)
    counts = [(int((labels_s[h] == 1).sum()), int((labels_s[h] == 0).sum())) for h in (select_s, report_s)]
    positives, negatives = counts[1]
    if min(min(pair) for pair in counts) < MIN_OF_CLASS:
        chosen_on = f"select half {counts[0][0]} with and {counts[0][1]} without"
        note = f"n too small: {chosen_on}, report half {positives} and {negatives}"
        return TruthRow(finding, tokens, how, positives=positives, negatives=negatives, note=note)
    n = np.flatnonzero(usable_s)
    split = (labels_s[n], select_s[n], report_s[n], patients_s[n])
    best = best_single_feature(main.features(how)[n], *split, seed=seed)
    probe = linear_probe_auroc(main.residual(how)[n], *split, seed=seed)
    values: dict[str, Any] = {}
    control = found[1] if len(found) > 1 else None
    if control is not None:
        other = best_single_feature(control.features(how)[n], *split, seed=seed)
        values = {"random": other.auroc, "random_low": other.interval[0], "random_high": other.interval[1]}
        values["random_feature"] = other.feature
        values["random_probe"] = linear_probe_auroc(control.residual(how)[n], *split, seed=seed).auroc
    return TruthRow(
        finding,
        tokens,
        how,
        feature=best.feature,
        auroc=best.auroc,
        low=best.interval[0],
        high=best.interval[1],
        auroc_select=best.auroc_select,
        probe=probe.auroc,
        probe_low=probe.interval[0],
        probe_high=probe.interval[1],
        positives=positives,
        negatives=negatives,
        **values,
    )


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Means over findings for each token set; ``n_findings`` counts those that could be measured."""
    summary: dict[str, dict[str, Any]] = {}
    for tokens in dict.fromkeys(row["tokens"] for row in rows):
        of_set = [row for row in rows if row["tokens"] == tokens]
        measured = [row for row in of_set if row["auroc"] == row["auroc"]]
        summary[tokens] = {
            "n_findings": len(measured),
            "too_few": [row["finding"] for row in of_set if row["auroc"] != row["auroc"]],
            **{name: _mean([row[name] for row in measured]) for name in ("auroc", "probe", "random", "random_probe")},
            "lowest": min(measured, key=lambda row: row["auroc"])["finding"] if measured else None,
        }
    return summary


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")


def detectors(
    studies: StudyIndex, findings: Sequence[str], source: Source, *, seed: int = 0, min_auroc: float = 0.9
) -> list[dict[str, Any]]:
    """Features whose meaning is known: on frontal image tokens they tell one finding from its absence.

    For each feature the finding of largest area is chosen on the select half; kept are features whose area for it is at
    least ``min_auroc`` on both halves. Rows ``{feature, key, auroc}``, the area being that of the report half.
    """
    with ActivationStore(source.directory) as store:
        mask = frontal_tokens(store)
        if not mask.any():
            return []
        codes = encode_rows(store, source.site, source.sae, mask)
        scores_sf = pool(store, source.site, codes, mask, len(studies)).features("max")
        present_s = np.bincount(store.column("study")[mask], minlength=len(studies)) > 0
    labels_sk = studies.label_matrix(findings)
    areas = np.full((2, scores_sf.shape[1], len(findings)), np.nan)
    for side, half in enumerate(studies.halves(seed)):
        for column in range(len(findings)):
            use = half & present_s & ~np.isnan(labels_sk[:, column])
            if use.any():
                areas[side, :, column] = auroc_per_feature(scores_sf[use], labels_sk[use, column])
    filled = np.nan_to_num(areas, nan=0.0)
    best_f = filled[0].argmax(axis=1)
    rows = np.arange(scores_sf.shape[1])
    keep = np.flatnonzero(np.minimum(filled[0, rows, best_f], filled[1, rows, best_f]) >= min_auroc)
    return [
        {"feature": int(f), "key": findings[best_f[f]], "auroc": float(areas[1, f, best_f[f]])} for f in keep.tolist()
    ]
