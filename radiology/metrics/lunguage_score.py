"""LUNGUAGESCORE: structured findings of two reports, matched one to one and compared attribute by attribute.

Definition: Moon et al. 2025, arXiv 2505.21190, in the form that the authors' package ``lunguage-score`` 1.0.0 computes.
The likeness of a reference row and a candidate row is semantic × structural × temporal, each a mean over text encoders:

- semantic: cosine of the descriptions ("entity location severity …"; over time, of the names of entity groups);
- structural: weighted mean over the attributes that either row has; an attribute that only one has counts 0;
- temporal: half for the same study of the patient, half for the same episode (1 within a single study).

Matching maximises the sum of likeness. A pair of likeness s counts s as true positive and 1 − s as both false positive
and false negative; a row left over counts 1 − its best likeness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radiology.metrics.bootstrap import DRAWS, Interval, bootstrap, nan_mean
from radiology.metrics.text_encoders import TextEncoder
from radiology.structured import StructuredFinding

#: Attribute → weight in the structural likeness.
WEIGHTS: dict[str, float] = {
    "dx_status": 0.5,
    "dx_certainty": 0.1,
    "location": 0.2,
    "severity": 0.15,
    "onset": 0.15,
    "improved": 0.15,
    "worsened": 0.15,
    "placement": 0.15,
    "no_change": 0.1,
    "morphology": 0.05,
    "distribution": 0.05,
    "measurement": 0.05,
    "comparison": 0.03,
    "past_hx": 0.01,
    "other_source": 0.01,
    "assessment_limitations": 0.01,
}
_EXACT = ("dx_status", "dx_certainty")
_DESCRIBING = (
    *("location", "morphology", "distribution", "measurement", "severity"),
    *("onset", "improved", "worsened", "no_change", "placement"),
)
#: Pairs whose descriptions are less alike are two findings, not one with other attributes.
_SAME_FINDING = 0.5

Rows = Sequence[StructuredFinding]


@dataclass(frozen=True)
class Move:
    """An attribute that differs within a matched pair: its likeness, and what it costs of the structural likeness."""

    entity: str
    attribute: str
    reference: str | None
    candidate: str | None
    likeness: float
    loss: float


@dataclass(frozen=True)
class Comparison:
    """Two sets of rows compared.

    ``pairs`` are (reference row, candidate row, likeness). ``moves`` are the attributes that differ in pairs
    of one finding. ``only_reference`` and ``only_candidate`` are the entities of rows without a partner, and of pairs
    that are no one finding.
    """

    precision: float
    recall: float
    f1: float
    pairs: tuple[tuple[StructuredFinding, StructuredFinding, float], ...]
    moves: tuple[Move, ...] = ()
    only_reference: tuple[str, ...] = ()
    only_candidate: tuple[str, ...] = ()


@dataclass(frozen=True)
class LunguageScore:
    """The score of a data set: means over studies (or patients) with intervals, and what was compared with what.

    ``missing`` are the studies or patients without candidate rows: each counts 0. ``moved`` is attribute → how many
    matched pairs differ in it.
    """

    scores: Mapping[str, Interval]
    studies: Mapping[str, Comparison]
    missing: tuple[str, ...]
    moved: Mapping[str, int]
    encoders: tuple[str, ...]


def compare_rows(
    reference: Rows, candidate: Rows, encoders: Sequence[TextEncoder], sequential: bool = False
) -> Comparison:
    """Compare the rows of one study, or with ``sequential`` those of all studies of one patient.

    No rows on either side: everything is NaN. No rows on one side: everything is 0. Where several matchings are equally
    good, the words of the rows decide and not their order, so that the order of sentences changes nothing.
    """
    if not reference and not candidate:
        return Comparison(float("nan"), float("nan"), float("nan"), ())
    if not reference or not candidate:
        return Comparison(0.0, 0.0, 0.0, (), (), _entities(reference), _entities(candidate))
    reference, candidate = sorted(reference, key=_sorting_key), sorted(candidate, key=_sorting_key)
    parts = [_Likeness(reference, candidate, encoder, sequential) for encoder in encoders]
    semantic = np.mean([part.semantic for part in parts], axis=0)
    structural = np.mean([part.structural for part in parts], axis=0)
    likeness = semantic * structural * (_temporal(reference, candidate) if sequential else 1.0)

    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(1 - likeness)
    true = float(likeness[rows, columns].sum())
    lost = len(rows) - true
    left = sorted(set(range(len(reference))) - set(rows.tolist()))
    extra = sorted(set(range(len(candidate))) - set(columns.tolist()))
    precision = _ratio(true, true + lost + sum(1 - float(likeness[:, j].max()) for j in extra))
    recall = _ratio(true, true + lost + sum(1 - float(likeness[i].max()) for i in left))
    f1 = _ratio(2 * precision * recall, precision + recall)
    places = [(int(i), int(j)) for i, j in zip(rows, columns, strict=True)]
    same = [(i, j) for i, j in places if semantic[i, j] >= _SAME_FINDING]
    apart = [(i, j) for i, j in places if semantic[i, j] < _SAME_FINDING]
    return Comparison(
        precision,
        recall,
        f1,
        tuple((reference[i], candidate[j], float(likeness[i, j])) for i, j in places),
        tuple(move for i, j in same for move in _moves(reference[i], candidate[j], parts, i, j)),
        _entities([reference[i] for i in sorted((*left, *(i for i, _ in apart)))]),
        _entities([candidate[j] for j in sorted((*extra, *(j for _, j in apart)))]),
    )


def lunguage_score(
    reference: Mapping[str, Rows],
    candidate: Mapping[str, Rows],
    encoders: Sequence[TextEncoder],
    sequential: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> LunguageScore:
    """The score over studies (id → rows), or with ``sequential`` over patients (id → rows of all their studies).

    A study of the reference that the candidate lacks counts 0 and is listed. One without rows on both sides says
    nothing and is NaN.
    """
    names = list(reference)
    found = {name: compare_rows(reference[name], candidate.get(name, ()), encoders, sequential) for name in names}
    table = np.array([[found[n].precision, found[n].recall, found[n].f1] for n in names]).reshape(len(names), 3)

    def aggregate(rows: np.ndarray) -> dict[str, float]:
        return {name: nan_mean(table[rows, place]) for place, name in enumerate(("precision", "recall", "f1"))}

    moved: dict[str, int] = {}
    for comparison in found.values():
        for move in comparison.moves:
            moved[move.attribute] = moved.get(move.attribute, 0) + 1
    return LunguageScore(
        bootstrap(aggregate, len(names), draws, seed),
        found,
        tuple(name for name in names if name not in candidate),
        dict(sorted(moved.items(), key=lambda item: -item[1])),
        tuple(encoder.name for encoder in encoders),
    )


class _Likeness:
    """Semantic and structural likeness (reference rows, candidate rows) under one encoder."""

    def __init__(self, reference: Rows, candidate: Rows, encoder: TextEncoder, sequential: bool) -> None:
        describe = _group if sequential else _description
        self.semantic = _cosines(encoder.phrases([describe(row) for row in reference]),
                                 encoder.phrases([describe(row) for row in candidate]))  # fmt: skip
        self.by_attribute: dict[str, np.ndarray] = {}
        self.present: dict[str, np.ndarray] = {}
        total = np.zeros((len(reference), len(candidate)))
        weight = np.zeros_like(total)
        for name, importance in WEIGHTS.items():
            ours = [_value(row, name) for row in reference]
            theirs = [_value(row, name) for row in candidate]
            if not any(ours) and not any(theirs):
                continue
            alike = _alike(name, ours, theirs, encoder)
            present = np.array([bool(value) for value in ours])[:, None] | np.array([bool(value) for value in theirs])
            total += importance * alike * present
            weight += importance * present
            self.by_attribute[name], self.present[name] = alike, present
        self.weight = weight
        self.structural = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)


def _alike(name: str, ours: Sequence[str], theirs: Sequence[str], encoder: TextEncoder) -> np.ndarray:
    both = np.array([bool(value) for value in ours])[:, None] & np.array([bool(value) for value in theirs])[None, :]
    if name in _EXACT:
        return both & np.array([[a.lower() == b.lower() for b in theirs] for a in ours])
    texts = sorted({*ours, *theirs} - {""})
    vectors = encoder.values(texts)
    place = {text: number for number, text in enumerate(texts)}
    cosines = np.pad(_cosines(vectors, vectors), (0, 1))  # the last row and column stand for an empty value
    rows = [place.get(value, len(texts)) for value in ours]
    columns = [place.get(value, len(texts)) for value in theirs]
    return cosines[np.ix_(rows, columns)] * both


def _temporal(reference: Rows, candidate: Rows) -> np.ndarray:
    """Half for the same place in the patient's sequence, half for the same episode, of what either row tells."""
    ours, theirs = _times(reference), _times(candidate)
    total = np.zeros((len(reference), len(candidate)))
    weight = np.zeros_like(total)
    for place in (0, 1):
        left, right = [time[place] for time in ours], [time[place] for time in theirs]
        told = np.array([bool(value) for value in left])[:, None] | np.array([bool(value) for value in right])[None, :]
        same = np.array([[bool(a) and a == b for b in right] for a in left])
        total += 0.5 * same
        weight += 0.5 * told
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)


def _times(rows: Rows) -> list[tuple[str, str]]:
    """(place in the sequence, episode) of each row; rows without any episodes are all of the first."""
    grouped = any(row.temporal_group for row in rows)
    return [
        (
            row.study_id if row.sequence is None else str(row.sequence),
            _plain_number(row.temporal_group or "") if grouped else "1",
        )
        for row in rows
    ]


def _plain_number(text: str) -> str:
    """Tables that were saved with gaps write 2 as 2.0."""
    return text.strip().removesuffix(".0")


def _moves(
    ours: StructuredFinding, theirs: StructuredFinding, parts: Sequence[_Likeness], i: int, j: int
) -> list[Move]:
    weight = parts[0].weight[i, j]
    moves = []
    for name, present in parts[0].present.items():
        alike = float(np.mean([part.by_attribute[name][i, j] for part in parts]))
        if present[i, j] and alike < 1 - 1e-6:
            loss = WEIGHTS[name] * (1 - alike) / float(weight)
            moves.append(Move(ours.ent, name, getattr(ours, name), getattr(theirs, name), alike, loss))
    return moves


def _cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return ours @ theirs.T


def _value(row: StructuredFinding, name: str) -> str:
    return str(getattr(row, name) or "").strip()


def _description(row: StructuredFinding) -> str:
    return " ".join([row.ent, *(value for name in _DESCRIBING if (value := _value(row, name)))])


def _group(row: StructuredFinding) -> str:
    return row.entity_group or "unknown"


def _sorting_key(row: StructuredFinding) -> tuple[str, ...]:
    return (
        row.ent,
        row.study_id,
        str(row.sequence),
        row.temporal_group or "",
        *(_value(row, name) for name in WEIGHTS),
    )


def _entities(rows: Rows) -> tuple[str, ...]:
    return tuple(row.ent for row in rows)


def _ratio(part: float, whole: float) -> float:
    """``part`` / ``whole`` within [0, 1]; 0 of nothing. Cosines below 0 could push it out."""
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0
