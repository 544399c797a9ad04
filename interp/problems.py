"""The problems of the truth table: telling one finding on one token set, from one half of the patients to the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from activations import ActivationStore, StudyIndex
from interp.evaluation.pooling import Pooled, TokenCodes, encode_rows, pool
from interp.evaluation.token_sets import Sentences, before_mention, frontal_tokens, last_prompt_tokens, report_sentences
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
class Problem:
    """One finding on one token set. Shapes: n studies can be used, S are in the run.

    Attributes:
        finding, tokens, pool: label key, token set, and how its tokens became one score a study.
        rows_n: (n,) numbers of the studies that have a label and tokens of the set in every source.
        labels_n, select_n, report_n, patients_n: label, halves and patient of these studies.
        main, control: all S studies on the token set; the control is None where there is none.
        positives, negatives: studies of the report half.
        note: why it cannot be measured; then the arrays are empty.
    """

    finding: str
    tokens: str
    pool: str
    rows_n: np.ndarray
    labels_n: np.ndarray
    select_n: np.ndarray
    report_n: np.ndarray
    patients_n: np.ndarray
    main: Pooled | None
    control: Pooled | None
    positives: int = 0
    negatives: int = 0
    note: str = ""

    @property
    def split(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Labels, both masks and patients, as :mod:`sae.detection` takes them."""
        return self.labels_n, self.select_n, self.report_n, self.patients_n

    @property
    def report_rows(self) -> np.ndarray:
        """Numbers of the studies of the report half."""
        return self.rows_n[self.report_n]

    def features(self, side: Pooled) -> np.ndarray:
        """(n, F) score of every feature."""
        return side.features(self.pool)[self.rows_n]

    def residual(self, side: Pooled, how: str | None = None) -> np.ndarray:
        """(n, d) residual, pooled like the features unless said otherwise."""
        return side.residual(how or self.pool)[self.rows_n]


class Sides:
    """The SAE to look at and, where there is one, that of a random-weight model; both of stores of the same studies.

    Stored tokens are encoded once a token set, however many ask for them.
    """

    def __init__(self, n_studies: int, main: Source, control: Source | None = None) -> None:
        self.main, self.control = main, control
        self._sides = [_Side(source, n_studies) for source in (main, control) if source is not None]

    def pooled(self, tokens: str, findings: Sequence[str]) -> Iterator[list[Pooled | None]]:
        """For each finding what its studies look like on a token set, main and control."""
        return (list(one) for one in zip(*(side.pooled(tokens, findings) for side in self._sides), strict=True))


def problems(
    studies: StudyIndex,
    findings: Sequence[str],
    sides: Sides,
    *,
    token_sets: Sequence[str] = tuple(TOKEN_SETS),
    seed: int = 0,
) -> Iterator[Problem]:
    """Every finding on every token set, findings within token sets; also those that cannot be measured.

    Args:
        findings: label keys, e.g. ``pleural_effusion:left``.
        seed: of the halves.
    """
    labels_sk = studies.label_matrix(findings)
    halves = studies.halves(seed)
    patients_s = studies.frame["patient_id"].to_numpy()
    for tokens in token_sets:
        for column, found in enumerate(sides.pooled(tokens, findings)):
            yield _problem(findings[column], tokens, found, labels_sk[:, column], halves, patients_s)


def _problem(
    finding: str,
    tokens: str,
    found: Sequence[Pooled | None],
    labels_s: np.ndarray,
    halves: tuple[np.ndarray, np.ndarray],
    patients_s: np.ndarray,
) -> Problem:
    how, none = TOKEN_SETS[tokens], np.zeros(0, dtype=int)
    empty = (none, none, none.astype(bool), none.astype(bool), none)
    if found[0] is None:
        return Problem(finding, tokens, how, *empty, None, None, note="no such tokens are stored")
    usable_s = ~np.isnan(labels_s) & np.logical_and.reduce([p.counts_s > 0 for p in found if p is not None])
    select_s, report_s = (half & usable_s for half in halves)
    counts = [(int((labels_s[h] == 1).sum()), int((labels_s[h] == 0).sum())) for h in (select_s, report_s)]
    positives, negatives = counts[1]
    if min(min(pair) for pair in counts) < MIN_OF_CLASS:
        chosen_on = f"select half {counts[0][0]} with and {counts[0][1]} without"
        note = f"n too small: {chosen_on}, report half {positives} and {negatives}"
        return Problem(finding, tokens, how, *empty, None, None, positives, negatives, note)
    n = np.flatnonzero(usable_s)
    split = (labels_s[n], select_s[n], report_s[n], patients_s[n])
    control = found[1] if len(found) > 1 else None
    return Problem(finding, tokens, how, n, *split, found[0], control, positives, negatives)


class _Side:
    """One source."""

    def __init__(self, source: Source, n_studies: int) -> None:
        self._source, self._n_studies = source, n_studies
        self._store = ActivationStore(source.directory)
        self._whole: dict[str, Pooled | None] = {}

    @cached_property
    def _sentences(self) -> Sentences:
        return report_sentences(self._store, self._source.tokenizer)

    def pooled(self, tokens: str, findings: Sequence[str]) -> Iterator[Pooled | None]:
        """For each finding what its studies look like on a token set; None if no such tokens are stored."""
        if tokens == "report before mention":
            return self._before_mention(findings)
        set_of = last_prompt_tokens if tokens == "last prompt token" else frontal_tokens
        if set_of.__name__ not in self._whole:
            mask = set_of(self._store)
            self._whole[set_of.__name__] = self._pool(self._encode(mask), mask) if mask.any() else None
        return iter([self._whole[set_of.__name__]] * len(findings))

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
