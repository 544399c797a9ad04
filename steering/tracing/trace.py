"""Causal tracing: at which site, and on which tokens, lies what the report says?

For a pair of studies that differ in one finding, residuals of the donor are swapped into the run on the recipient. With
L = log p(donor's report) − log p(recipient's report), both teacher-forced, a cell's effect is

    Σ (L patched − L recipient) / Σ (L donor − L recipient)    over pairs,

0 where the swap changes nothing, 1 where it carries everything over. A sum of ratios would let one pair in which the
model sees no difference decide; the ratio of sums does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from activations.hooks import canonical_site, is_image_site
from activations.models.base import ModelInputs, ReportModel
from activations.roles import Role
from radiology.study import Study
from steering.errors import SteeringError
from steering.interventions.positions import NO_TOKEN, Ledger, Places, prompt_length
from steering.reading import Reader, reader_for
from steering.schema import CAUSAL_MAP_COLUMNS, CAUSAL_MAP_FILE
from steering.statistics import bootstrap_ratio
from steering.tables import table_of, write_table
from steering.tracing.pairs import Pair
from steering.tracing.patching import record, replayed, residual, swapped, swapping

#: ``prompt.text`` is all of the prompt but the images, ``prompt.last`` only its last token.
TRACE_SCOPES: tuple[str, ...] = ("prompt.image", "prompt.text", "prompt.last", "generated", "all")
#: With less than this between donor and recipient (nats, mean over pairs) there is no effect to measure.
MIN_GAP = 0.1

Progress = Callable[[int, int], None]


def trace(
    model: ReportModel,
    pairs: Mapping[str, Sequence[Pair]],
    *,
    sites: Sequence[str] | None = None,
    scopes: Sequence[str] = TRACE_SCOPES[:4],
    flips: bool = False,
    reader: Reader | None = None,
    batch: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The causal map of a model.

    Args:
        pairs: finding key → (recipient, donor) studies with reports, whose prompts have the same tokens.
        sites: by default all language sites and the projector.
        scopes: of :data:`TRACE_SCOPES`; sites of the encoder hold images only.
        flips: also generate with swapped prompts, and count reports that take over the donor's status; much slower.
        batch: pairs in one pass.
        progress: called with (cells done, cells in all).

    Returns:
        A table with :data:`steering.schema.CAUSAL_MAP_COLUMNS`; ``effect`` is NaN where there was no gap to carry.

    Raises:
        SteeringError: an unknown scope, studies without reports, or no pair of a key that lines up.
    """
    names = [canonical_site(site) for site in sites] if sites is not None else _default_sites(model)
    unknown = [scope for scope in scopes if scope not in TRACE_SCOPES]
    if unknown:
        raise SteeringError(f"scopes: {unknown[0]!r} is not one of {list(TRACE_SCOPES)}")
    cells = [(site, scope) for site in names for scope in scopes if scope == "prompt.image" or not is_image_site(site)]
    step = _Steps(progress, sum(-(-len(of_key) // batch) for of_key in pairs.values()) * len(cells))
    rows: list[dict[str, Any]] = []
    for key, of_key in pairs.items():
        forced = [_forced(model, pair) for pair in of_key]
        usable = [(pair, f) for pair, f in zip(of_key, forced, strict=True) if f is not None]
        if not usable:
            raise SteeringError(f"pairs of {key!r}: none of {len(of_key)} has the same prompt tokens on both sides")
        measured = _Measured([], {cell: [] for cell in cells}, {cell: [] for cell in cells})
        for start in range(0, len(usable), batch):
            some = usable[start : start + batch]
            _measure_effects(model, [f for _, f in some], cells, measured, step)
            if flips:
                _measure_flips(model, [p for p, _ in some], key, cells, measured, reader or reader_for(model))
        rows += _rows(key, cells, measured, len(of_key) - len(usable), seed)
    return table_of(rows, CAUSAL_MAP_COLUMNS)


def trace_to_parquet(table: pd.DataFrame, run: Path) -> Path:
    """Write the causal map to ``RUN/trace/causal_map.parquet``; gives the path."""
    path = run / "trace" / CAUSAL_MAP_FILE
    write_table(table, path)
    return path


@dataclass
class _Measured:
    """Per pair: the gap, and per cell what the swap carried over and whether the report flipped."""

    gaps: list[float]
    carried: dict[tuple[str, str], list[float]]
    flipped: dict[tuple[str, str], list[bool]]


class _Steps:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


@dataclass(frozen=True)
class _Forced:
    """A pair, teacher-forced with the recipient's report (row 0) and with the donor's (row 1)."""

    recipient: tuple[ModelInputs, ModelInputs]
    donor: tuple[ModelInputs, ModelInputs]


def _default_sites(model: ReportModel) -> list[str]:
    return [site for site in model.sites() if not site.startswith("vision.")]


def _forced(model: ReportModel, pair: Pair) -> _Forced | None:
    """``None`` where the prompts do not line up."""
    recipient, donor = pair
    reports = (_report(recipient), _report(donor))
    rows = _Forced(
        (model.encode(recipient, reports[0]), model.encode(recipient, reports[1])),
        (model.encode(donor, reports[0]), model.encode(donor, reports[1])),
    )
    lined_up = all(
        np.array_equal(r.tokens[0].token_id, d.tokens[0].token_id)
        for r, d in zip(rows.recipient, rows.donor, strict=True)
    )
    return rows if lined_up else None


def _report(study: Study) -> str:
    if study.report is None:
        raise SteeringError(f"study {study.study_id!r} has no report; tracing compares the reports of a pair")
    return study.report


def _measure_effects(
    model: ReportModel,
    forced: Sequence[_Forced],
    cells: Sequence[tuple[str, str]],
    measured: _Measured,
    step: Callable[[], None],
) -> None:
    inputs = model.collate([row for pair in forced for row in pair.recipient])
    donors = model.collate([row for pair in forced for row in pair.donor])
    sites = list(dict.fromkeys(site for site, _ in cells))
    clean_logits, clean_outputs = record(model, sites, inputs)
    donor_logits, donor_outputs = record(model, sites, donors)
    clean_p = _log_odds(clean_logits, inputs)
    measured.gaps += (_log_odds(donor_logits, inputs) - clean_p).tolist()
    for site, scope in cells:
        shape = tuple(residual(clean_outputs[site]).shape)
        chosen = _choose(Ledger(site, inputs).next(shape), scope, inputs)
        patched = swapped(clean_outputs[site], donor_outputs[site], chosen)
        with replayed(model, site, patched):
            logits = model.forward(inputs)
        measured.carried[site, scope] += (_log_odds(logits, inputs) - clean_p).tolist()
        step()


def _log_odds(logits_btv: torch.Tensor, inputs: ModelInputs) -> np.ndarray:
    """log p(donor's report) − log p(recipient's report) of each pair of rows, end token included, (pairs,) nats."""
    sums = []
    for i, (table, pad) in enumerate(zip(inputs.tokens, inputs.padding, strict=True)):
        start = pad + prompt_length(table)
        targets_n = inputs.input_ids_bt[i, start:].to(logits_btv.device)
        log_p_nv = logits_btv[i, start - 1 : -1].float().log_softmax(dim=-1)
        sums.append(float(log_p_nv.gather(1, targets_n[:, None]).sum()))
    by_pair = np.array(sums).reshape(-1, 2)
    return by_pair[:, 1] - by_pair[:, 0]


def _choose(places: Places, scope: str, inputs: ModelInputs) -> np.ndarray:
    """Elements of a scope, (b, s) bool."""
    token = places.role != NO_TOKEN
    if scope == "all":
        return token
    if scope == "prompt.image":
        return places.role == Role.IMAGE
    lengths = np.array([prompt_length(t) + p for t, p in zip(inputs.tokens, inputs.padding, strict=True)])
    ends = lengths[places.study]
    if scope == "prompt.last":
        return token & (places.slot == ends - 1)
    if scope == "generated":
        return token & (places.slot >= ends)
    return token & (places.slot < ends) & (places.role != Role.IMAGE)


def _measure_flips(
    model: ReportModel,
    pairs: Sequence[Pair],
    key: str,
    cells: Sequence[tuple[str, str]],
    measured: _Measured,
    reader: Reader,
) -> None:
    """Generate with the donor's prompt residuals; only pairs whose clean reports differ on the key can flip."""

    def says(inputs: ModelInputs) -> list[bool]:
        return [reader(generation.text).status(key) == "present" for generation in model.generate(inputs)]

    inputs = model.encode_batch([recipient for recipient, _ in pairs])
    donors = model.encode_batch([donor for _, donor in pairs])
    clean, other = says(inputs), says(donors)
    _, donor_outputs = record(model, list(dict.fromkeys(site for site, _ in cells)), donors)
    for site, scope in cells:
        if scope in ("generated", "all"):
            continue

        def choose(places: Places, of: str = scope) -> np.ndarray:
            return _choose(places, of, inputs)

        with swapping(model, site, donor_outputs[site], choose):
            patched = says(inputs)
        measured.flipped[site, scope] += [p == o for p, c, o in zip(patched, clean, other, strict=True) if c != o]


def _rows(
    key: str, cells: Sequence[tuple[str, str]], measured: _Measured, skipped: int, seed: int
) -> list[dict[str, Any]]:
    gaps = np.array(measured.gaps)
    gap = float(gaps.mean())
    rows = []
    for cell in cells:
        carried = np.array(measured.carried[cell])
        effect, low, high = float("nan"), float("nan"), float("nan")
        if gap >= MIN_GAP:
            effect = float(carried.sum() / gaps.sum())
            low, high = bootstrap_ratio(carried, gaps, seed=seed)
        flipped = measured.flipped[cell]
        rows.append(
            {"key": key, "site": cell[0], "scope": cell[1], "effect": effect, "low": low, "high": high}
            | {"gap": gap, "n": len(gaps), "skipped": skipped}
            | {"flip_rate": float(np.mean(flipped)) if flipped else float("nan"), "flip_n": len(flipped)}
        )
    return rows
