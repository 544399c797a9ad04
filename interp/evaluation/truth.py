"""The truth table: which findings an SAE recovered, beside a linear probe and a random-weight control.

For each finding the best single feature, and the best few, are chosen on one half of the patients and measured on the
other. The study's score is the largest (or mean) activation of the feature over a token set. The normative text is
``docs/evaluation.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from activations import StudyIndex
from interp.problems import TOKEN_SETS, Problem, Sides, Source, problems
from sae.evaluation import best_single_feature, linear_probe_auroc
from sae.probing import KS, SparseProbe, sparse_probes
from sae.ranking import group_weights, percentile_interval, weighted_areas

NAN = float("nan")


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
        gain, gain_low, gain_high: auroc − random, on the same resamples of patients.
        positives, negatives: studies of the report half.
    """

    finding: str
    tokens: str
    pool: str
    feature: int | None = None
    auroc: float = NAN
    low: float = NAN
    high: float = NAN
    auroc_select: float = NAN
    probe: float = NAN
    probe_low: float = NAN
    probe_high: float = NAN
    random: float = NAN
    random_low: float = NAN
    random_high: float = NAN
    random_feature: int | None = None
    random_probe: float = NAN
    gain: float = NAN
    gain_low: float = NAN
    gain_high: float = NAN
    positives: int = 0
    negatives: int = 0
    note: str = ""


@dataclass(frozen=True)
class SparseRow:
    """A probe on the k features of largest difference of means, for one finding on one token set.

    Attributes:
        k, features: how many were asked for, and which were used.
        auroc, low, high, f1: on the report half.
        random, random_low, random_high: the same of the control's SAE.
        gain, gain_low, gain_high: auroc − random, on the same resamples of patients.
    """

    finding: str
    tokens: str
    pool: str
    k: int
    features: tuple[int, ...]
    auroc: float
    low: float
    high: float
    f1: float
    random: float = NAN
    random_low: float = NAN
    random_high: float = NAN
    gain: float = NAN
    gain_low: float = NAN
    gain_high: float = NAN


#: (token set, figure) or (token set, k, figure) → the figure of each finding: value, and (B,) on the resamples.
_Drawn = dict[tuple[Any, ...], list[tuple[float, np.ndarray]]]


@dataclass
class Truth:
    """Measures problems one after the other and keeps the rows and what the means need.

    All findings are measured on the same resamples of the patients of the report half, so that means over findings and
    differences between an SAE and its control have intervals of their own.

    Args:
        weights_bs: (B, S) how often each study counts in each resample.
        ks: sizes of the sparse probes; empty leaves them out.
    """

    weights_bs: np.ndarray
    seed: int = 0
    ks: Sequence[int] = KS
    rows: list[dict[str, Any]] = field(default_factory=list)
    sparse: list[dict[str, Any]] = field(default_factory=list)
    _drawn: _Drawn = field(default_factory=dict)

    @classmethod
    def over(cls, studies: StudyIndex, seed: int = 0, ks: Sequence[int] = KS, n_samples: int = 500) -> Truth:
        """With resamples of the patients of the studies' report half."""
        report_s = studies.halves(seed)[1]
        weights_bs = np.zeros((n_samples, len(studies)))
        patients = studies.frame["patient_id"].to_numpy()[report_s].astype(str)
        weights_bs[:, report_s] = group_weights(patients, n_samples=n_samples, seed=seed)
        return cls(weights_bs, seed, ks)

    def add(self, problem: Problem) -> None:
        """Measure one problem: a row of the truth table, and a row for each k."""
        self.rows.append(asdict(self._row(problem)))
        if problem.main is not None and problem.pool == "max":
            self.sparse += [asdict(row) for row in self._sparse_rows(problem)]

    def _row(self, problem: Problem) -> TruthRow:
        about: dict[str, Any] = {"finding": problem.finding, "tokens": problem.tokens, "pool": problem.pool}
        about |= {"positives": problem.positives, "negatives": problem.negatives}
        if problem.main is None:
            return TruthRow(**about, note=problem.note)
        split, seed = problem.split, self.seed
        best = best_single_feature(problem.features(problem.main), *split, seed=seed)
        probe = linear_probe_auroc(problem.residual(problem.main), *split, seed=seed)
        values: dict[str, Any] = {}
        scores = {"auroc": best.scores_n, "probe": probe.scores_n}
        if problem.control is not None:
            other = best_single_feature(problem.features(problem.control), *split, seed=seed)
            other_probe = linear_probe_auroc(problem.residual(problem.control), *split, seed=seed)
            scores |= {"random": other.scores_n, "random_probe": other_probe.scores_n}
            values = {"random_feature": other.feature, "random_probe": other_probe.auroc}
        drawn = self._draw((problem.tokens,), problem, scores)
        low, high = drawn["auroc"]
        return TruthRow(
            **about,
            feature=best.feature,
            auroc=best.auroc,
            low=low,
            high=high,
            auroc_select=best.auroc_select,
            probe=probe.auroc,
            probe_low=drawn["probe"][0],
            probe_high=drawn["probe"][1],
            **values,
            **self._against(drawn, best.auroc, other.auroc if problem.control is not None else None),
        )

    def _sparse_rows(self, problem: Problem) -> list[SparseRow]:
        assert problem.main is not None
        mains = self._probes(problem, problem.features(problem.main))
        others: Sequence[SparseProbe | None] = [None] * len(mains)
        if problem.control is not None:
            others = self._probes(problem, problem.features(problem.control))
        return [self._sparse_row(problem, main, other) for main, other in zip(mains, others, strict=True)]

    def _probes(self, problem: Problem, scores_nf: np.ndarray) -> list[SparseProbe]:
        return sparse_probes(scores_nf, *problem.split, ks=self.ks, seed=self.seed) if self.ks else []

    def _sparse_row(self, problem: Problem, main: SparseProbe, other: SparseProbe | None) -> SparseRow:
        scores = {"auroc": main.scores_n} | ({} if other is None else {"random": other.scores_n})
        drawn = self._draw((problem.tokens, main.k), problem, scores)
        against = self._against(drawn, main.auroc, None if other is None else other.auroc)
        about = (problem.finding, problem.tokens, problem.pool, main.k, main.features)
        return SparseRow(*about, main.auroc, *drawn["auroc"], main.f1, **against)

    def _draw(
        self, key: tuple[Any, ...], problem: Problem, scores: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[float, float]]:
        """Intervals of the areas of some score columns of the report half; ``gain`` is auroc − random."""
        labels_n = problem.labels_n[problem.report_n].astype(bool)
        weights_bn = self.weights_bs[:, problem.report_rows]
        areas = {name: weighted_areas(score_n, labels_n, weights_bn) for name, score_n in scores.items()}
        values = {
            name: float(weighted_areas(score_n, labels_n, np.ones((1, len(labels_n))))[0])
            for name, score_n in scores.items()
        }
        if "random" in areas:
            areas["gain"] = areas["auroc"] - areas["random"]
            values["gain"] = values["auroc"] - values["random"]
        for name, area_b in areas.items():
            self._drawn.setdefault((*key, name), []).append((values[name], area_b))
        return {name: percentile_interval(area_b) for name, area_b in areas.items()}

    @staticmethod
    def _against(drawn: Mapping[str, tuple[float, float]], ours: float, random: float | None) -> dict[str, Any]:
        if random is None:
            return {}
        (low, high), (gain_low, gain_high) = drawn["random"], drawn["gain"]
        return {
            "random": random,
            "random_low": low,
            "random_high": high,
            "gain": ours - random,
            "gain_low": gain_low,
            "gain_high": gain_high,
        }

    def summary(self) -> dict[str, dict[str, Any]]:
        """:func:`summarise`, with intervals of the means."""
        found = summarise(self.rows)
        for tokens, means in found.items():
            means |= self._means((tokens,), ("auroc", "probe", "random", "random_probe", "gain"))
        return found

    def sparse_summary(self) -> dict[str, dict[str, Any]]:
        """Token set → k → means over findings with intervals."""
        found: dict[str, dict[str, Any]] = {}
        for tokens in dict.fromkeys(row["tokens"] for row in self.sparse):
            for k in self.ks:
                of_k = [row for row in self.sparse if row["tokens"] == tokens and row["k"] == k]
                means = {"n_findings": len(of_k), "f1": _mean([row["f1"] for row in of_k])}
                means |= self._means((tokens, k), ("auroc", "random", "gain"))
                found.setdefault(tokens, {})[str(k)] = means
        return found

    def _means(self, key: tuple[Any, ...], names: Iterable[str]) -> dict[str, float]:
        means: dict[str, float] = {}
        for name in names:
            drawn = self._drawn.get((*key, name), [])
            means[name] = _mean([value for value, _ in drawn])
            if drawn:
                means[f"{name}_low"], means[f"{name}_high"] = percentile_interval(
                    np.mean([area_b for _, area_b in drawn], axis=0)
                )
        return means


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
    """Rows of :class:`TruthRow` as dicts, findings within token sets; arguments as in :func:`interp.problems.problems`.

    Args:
        control: the SAE of a random-weight model; its columns are NaN without one.
        seed: of halves and bootstrap.
    """
    truth = Truth.over(studies, seed, ks=())
    total = len(token_sets) * len(findings)
    sides = Sides(len(studies), main, control)
    for problem in problems(studies, findings, sides, token_sets=token_sets, seed=seed):
        truth.add(problem)
        if progress is not None:
            progress(len(truth.rows), total, f"{problem.tokens}: {problem.finding}")
    return truth.rows


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
