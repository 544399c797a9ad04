"""Measures of wording: BLEU, ROUGE-L, length and repetition. They know words and no meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radiology.metrics.bootstrap import DRAWS, Interval, bootstrap, nan_mean, share

_WORD = re.compile(r"\w+")
_REPEATED = 4  # words of an n-gram that counts as repeated


def bleu(
    candidates: Sequence[str], references: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> tuple[dict[str, Interval], list[float]]:
    """Corpus BLEU-4 in [0, 1] with interval, and the BLEU of each report (sacrebleu: 13a tokens, lower case).

    N-gram counts are summed over reports, so the corpus value is no mean. Orders of which a whole text has no n-gram
    are left out ("No pneumothorax." has no four words); two empty reports are NaN and not counted.
    """
    from sacrebleu.metrics import BLEU

    metric = BLEU(lowercase=True, effective_order=True)
    scores = [metric.sentence_score(c, [r]) if c.strip() or r.strip() else None
              for c, r in zip(candidates, references, strict=True)]  # fmt: skip
    counts = np.array([_counts(score) for score in scores], dtype=np.int64).reshape(len(scores), 10)

    def aggregate(rows: np.ndarray) -> dict[str, float]:
        total = counts[rows].sum(axis=0)
        if not total[8:].any():
            return {"bleu": float("nan")}
        made = BLEU.compute_bleu(
            correct=total[:4].tolist(),
            total=total[4:8].tolist(),
            sys_len=int(total[8]),
            ref_len=int(total[9]),
            effective_order=True,
        )
        return {"bleu": min(made.score / 100, 1.0)}

    each = [float("nan") if score is None else min(float(score.score) / 100, 1.0) for score in scores]
    return bootstrap(aggregate, len(scores), draws, seed), each


def _counts(score: Any) -> list[int]:
    """Matching n-grams of four orders, all n-grams of the candidate, both lengths."""
    return [0] * 10 if score is None else [*score.counts, *score.totals, score.sys_len, score.ref_len]


def rouge_l(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """ROUGE-L F of each report (rouge-score, without stemming); two empty reports are NaN."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    return [
        float(scorer.score(reference, candidate)["rougeL"].fmeasure)
        if candidate.strip() or reference.strip()
        else float("nan")
        for candidate, reference in zip(candidates, references, strict=True)
    ]


def words_of(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def repetition(text: str, n: int = _REPEATED) -> float:
    """Share of n-grams that the text has said before: 0 without repetition, near 1 in a loop; NaN below n words."""
    words = words_of(text)
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return 1 - share(len(set(grams)), len(grams)) if grams else float("nan")


def mean_with_interval(
    columns: Mapping[str, Sequence[float]], draws: int = DRAWS, seed: int = 0
) -> dict[str, Interval]:
    """Means over reports of several columns, each with an interval; NaN is left out."""
    arrays = {name: np.array(values, dtype=float) for name, values in columns.items()}
    n = len(next(iter(arrays.values()))) if arrays else 0
    return bootstrap(lambda rows: {name: nan_mean(array[rows]) for name, array in arrays.items()}, n, draws, seed)
