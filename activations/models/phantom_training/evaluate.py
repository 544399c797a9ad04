"""Held-out figures of a phantom model: what its greedy reports get right, by exact parse of the grammar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from activations.models.phantom import PhantomReportModel
from activations.models.phantom_language import BOX_BINS
from radiology.phantom.cases import PhantomStudy
from radiology.phantom.factors import FINDING_KEYS
from radiology.phantom.grammar import parse_grounded, parse_report

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PhantomScores:
    """Shares in [0, 1]; intervals are 95 % by bootstrap over studies.

    ``f1``: per finding key, affirmed or hedged counts as found. ``change_accuracy``: of the change words of the
    reference reports, how many the model's report has. ``box_iou_median``: over affirmed findings that have a box in
    truth and in the grounded report. ``box_recall``: truth boxes for which there is any box.
    """

    n: int
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    f1: dict[str, float]
    support: dict[str, int]
    change_accuracy: float
    n_changes: int
    box_iou_median: float
    box_recall: float
    n_boxes: int
    parse_failures: float
    grounded_parse_failures: float
    hedge_recall: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_phantom(
    model: PhantomReportModel,
    studies: Sequence[PhantomStudy],
    *,
    batch: int = 50,
    progress: Callable[[int, int, str], None] | None = None,
) -> PhantomScores:
    """Write plain and grounded reports of ``studies`` and compare with the truth."""
    found_nf = np.zeros((len(studies), len(FINDING_KEYS)), dtype=bool)
    truth_nf = np.zeros_like(found_nf)
    changes, hedges, boxes = _Tally(), _Tally(), _Boxes()
    failures = grounded_failures = 0
    order = sorted(range(len(studies)), key=lambda i: len(studies[i].images))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        chosen = [studies[i] for i in rows]
        plain = model.generate(model.encode_batch(chosen))
        grounded = model.generate(model.encode_batch(chosen, grounded=True), max_new_tokens=220)
        for i, study, text, marked in zip(rows, chosen, plain, grounded, strict=True):
            parsed, reference = parse_report(text.text), parse_report(study.report or "")
            failures += bool(parsed.errors) or not text.finished
            statuses = parsed.label_statuses()
            labels = study.labels or {}
            found_nf[i] = [statuses[key] in ("present", "uncertain") for key in FINDING_KEYS]
            truth_nf[i] = [labels[key] == "present" for key in FINDING_KEYS]
            changes.add(parsed.change.get(key) == change for key, change in reference.change.items())
            wanted = reference.label_statuses()
            hedges.add(statuses[key] == "uncertain" for key in FINDING_KEYS if wanted[key] == "uncertain")
            grounded_failures += boxes.add(study, marked.text)
        if progress:
            progress(min(start + batch, len(order)), len(order), "held-out reports")
    f1 = _f1(truth_nf, found_nf)
    return PhantomScores(
        n=len(studies),
        macro_f1=float(f1.mean()),
        macro_f1_interval=_bootstrap(truth_nf, found_nf),
        f1=dict(zip(FINDING_KEYS, f1.tolist(), strict=True)),
        support=dict(zip(FINDING_KEYS, truth_nf.sum(0).tolist(), strict=True)),
        change_accuracy=changes.share,
        n_changes=changes.n,
        box_iou_median=float(np.median(boxes.iou)) if boxes.iou else float("nan"),
        box_recall=len(boxes.iou) / max(1, boxes.n),
        n_boxes=boxes.n,
        parse_failures=failures / len(studies),
        grounded_parse_failures=grounded_failures / len(studies),
        hedge_recall=hedges.share,
    )


class _Tally:
    def __init__(self) -> None:
        self.n = self.right = 0

    def add(self, outcomes: Any) -> None:
        for outcome in outcomes:
            self.n += 1
            self.right += bool(outcome)

    @property
    def share(self) -> float:
        return self.right / self.n if self.n else float("nan")


class _Boxes:
    """IoU of each true box with the best box that the grounded report gives to the same finding."""

    def __init__(self) -> None:
        self.n = 0
        self.iou: list[float] = []

    def add(self, study: PhantomStudy, text: str) -> bool:
        """Count one grounded report; true if it is malformed."""
        findings, errors = parse_grounded(text, BOX_BINS)
        given: dict[str, list[Box]] = {}
        for sentence, boxes in findings:
            parsed = parse_report(sentence)
            errors = [*errors, *parsed.errors]
            for key, status in parsed.status.items():
                if status in ("present", "uncertain"):
                    given.setdefault(key, []).extend(boxes)
        for key, mask in study.masks.items():
            if mask.any() and key != "nasogastric_tube:misplaced":
                self.n += 1
                if given.get(key):
                    self.iou.append(max(box_iou(mask_box(mask), box) for box in given[key]))
        return bool(errors)


def mask_box(mask_hw: np.ndarray) -> Box:
    """Tight box around a mask, xyxy in [0, 1]."""
    ys, xs = np.nonzero(mask_hw)
    height, width = mask_hw.shape
    return (xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height)


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def _f1(truth_nf: np.ndarray, found_nf: np.ndarray) -> np.ndarray:
    hits = (truth_nf & found_nf).sum(0)
    return 2 * hits / np.maximum(1, truth_nf.sum(0) + found_nf.sum(0))


def _bootstrap(truth_nf: np.ndarray, found_nf: np.ndarray, draws: int = 500) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    rows = rng.integers(len(truth_nf), size=(draws, len(truth_nf)))
    low, high = np.quantile([_f1(truth_nf[r], found_nf[r]).mean() for r in rows], [0.025, 0.975])
    return float(low), float(high)
