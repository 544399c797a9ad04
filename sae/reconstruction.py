"""Reconstruction by prefix, by kind of row and with intervals over units.

A unit is what was drawn independently (a patient); a kind is what rows differ in (a token role). This package knows
neither: it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from sae.codes import SparseCodes
from sae.errors import SAEError
from sae.model import MatryoshkaSAE
from sae.ranking import group_weights, percentile_interval

DENSE_RATE = 0.1
"""A feature that fires on more than this share of the tokens is called dense."""

_CHUNK_ENTRIES = 1 << 24  # floats of partial reconstructions held at once

Floats = NDArray[np.float64]


class ReconstructionMeter:
    """Takes rows with their unit and kind, and gives figures of all of them, of one kind, or of one prefix.

    Kept in memory: (units, kinds, G) errors and firings, (units, kinds, d) sums in float32 and (units, F) firings.

    Args:
        sae: as it will be used: features count by the threshold.
        n_units: units, numbered from 0.
        kinds: names of the kinds, numbered in this order.
    """

    def __init__(self, sae: MatryoshkaSAE, n_units: int, kinds: Sequence[str]) -> None:
        self.kinds = tuple(kinds)
        self._sae = sae
        cells = (n_units, len(self.kinds))
        self._rows_uk = np.zeros(cells)
        self._squares_uk = np.zeros(cells)
        self._sums_ukd = np.zeros((*cells, sae.d), dtype=np.float32)
        self._errors_ukg = np.zeros((*cells, len(sae.groups)))
        self._active_ukg = np.zeros((*cells, len(sae.groups)))
        self._fired_kf = np.zeros((len(self.kinds), sae.n_features), dtype=np.int64)
        self._fired_uf = np.zeros((n_units, sae.n_features), dtype=np.float32)

    @torch.no_grad()
    def add(self, x_nd: torch.Tensor, units_n: NDArray[np.integer], kinds_n: NDArray[np.integer]) -> None:
        """Measure rows; units and kinds by number.

        Raises:
            SAEError: a row holds NaN or infinity.
        """
        if not bool(torch.isfinite(x_nd).all()):
            raise SAEError(f"a row after {self.tokens} tokens holds NaN or infinity; filter such rows out")
        step = max(1, _CHUNK_ENTRIES // (self._sae.d * len(self._sae.groups)))
        for start in range(0, len(x_nd), step):
            part = slice(start, start + step)
            self._add(x_nd[part].to(self._sae.W_dec.device), np.asarray(units_n[part]), np.asarray(kinds_n[part]))

    def _add(self, x_nd: torch.Tensor, units_n: NDArray[np.integer], kinds_n: NDArray[np.integer]) -> None:
        codes = self._sae.encode(x_nd)
        parts_ngd, active_ng = by_group(self._sae, codes)
        errors_ng = (parts_ngd.cumsum(1) + self._sae.b_dec - x_nd[:, None]).double().square().sum(2)
        where = (units_n, kinds_n)
        # About b_dec, which lies near the mean: variances are the same, and little is lost in float32.
        x_wide = (x_nd - self._sae.b_dec).double().cpu().numpy()
        np.add.at(self._rows_uk, where, 1)
        np.add.at(self._squares_uk, where, np.square(x_wide).sum(1))
        np.add.at(self._errors_ukg, where, errors_ng.cpu().numpy())
        np.add.at(self._active_ukg, where, active_ng.cpu().numpy())
        _add_rows(self._sums_ukd.reshape(-1, self._sae.d), units_n * len(self.kinds) + kinds_n, x_wide)
        rows_m, features_m = codes.rows().cpu().numpy(), codes.indices.cpu().numpy()
        width = self._sae.n_features
        self._fired_kf += _counts(kinds_n[rows_m], features_m, self._fired_kf.shape)
        units, compact_n = np.unique(units_n, return_inverse=True)
        self._fired_uf[units] += _counts(compact_n[rows_m], features_m, (len(units), width))

    @property
    def tokens(self) -> int:
        """Rows taken so far."""
        return int(self._rows_uk.sum())

    @property
    def mean_d(self) -> Floats:
        """(d,) mean of all rows."""
        bias_d = self._sae.b_dec.detach().double().cpu().numpy()
        return np.asarray(self._sums_ukd.sum((0, 1), dtype=np.float64) / max(self.tokens, 1) + bias_d)

    @property
    def live(self) -> NDArray[np.bool_]:
        """(F,) whether a feature fired at all."""
        return np.asarray(self._fired_kf.sum(0) > 0)

    def figures(self, *, seed: int = 0, n_samples: int = 500) -> dict[str, Any]:
        """All rows together, by prefix, and by kind; intervals by resampling units.

        The fields are those of ``reconstruction`` in ``docs/evaluation.md``.

        Raises:
            SAEError: no rows.
        """
        if not self.tokens:
            raise SAEError("no tokens to evaluate on: the batches were empty")
        present_u = np.flatnonzero(self._rows_uk.sum(1))
        weights_bu = group_weights(present_u, n_samples=n_samples, seed=seed)
        every = list(range(len(self.kinds)))
        whole = self._of_kinds(every, present_u, weights_bu)
        fired_f = self._fired_kf.sum(0)
        dense_bf = self._dense(present_u, weights_bu)
        prefixes = [
            one | self._shares(fired_f[:width], self.tokens) | _interval("dense_share", dense_bf[:, :width].mean(1))
            for one, width in zip(whole.pop("prefixes"), np.cumsum(self._sae.groups), strict=True)
        ]
        by_kind = {}
        for number, kind in enumerate(self.kinds):
            if self._rows_uk[:, number].any():
                by_kind[kind] = self._of_kinds([number], present_u, weights_bu)
                by_kind[kind] |= self._shares(self._fired_kf[number], by_kind[kind]["tokens"])
        return (
            whole
            | self._shares(fired_f, self.tokens)
            | _interval("dense_share", dense_bf.mean(1))
            | {
                "units": len(present_u),
                "dead_share_on_half": self._dead_on_half(present_u, seed),
                "by_prefix": prefixes,
                "by_kind": by_kind,
            }
        )

    def _of_kinds(self, kinds: Sequence[int], units: NDArray[np.intp], weights_bu: Floats) -> dict[str, Any]:
        """Figures of the rows of some kinds, with intervals."""
        once_1u = np.ones((1, len(units)))
        rows_u = self._rows_uk[units][:, kinds].sum(1)
        squares_u = self._squares_uk[units][:, kinds].sum(1)
        sums_ud = self._sums_ukd[units][:, kinds].sum(1, dtype=np.float64)
        errors_ug = self._errors_ukg[units][:, kinds].sum(1)
        active_ug = self._active_ukg[units][:, kinds].sum(1).cumsum(1)
        gram_uu = sums_ud @ sums_ud.T

        def explained(weights_bu: Floats) -> Floats:
            rows_b = weights_bu @ rows_u
            middle_b = np.einsum("bu,bu->b", weights_bu @ gram_uu, weights_bu) / np.maximum(rows_b, 1)
            spread_b1 = (weights_bu @ squares_u - middle_b)[:, None]
            # What rounding leaves of equal rows is no variance.
            known_b1 = spread_b1 > 1e-6 * np.maximum(weights_bu @ squares_u, 1e-300)[:, None]
            return np.where(known_b1, 1 - weights_bu @ errors_ug / np.where(known_b1, spread_b1, 1), np.nan)

        def l0(weights_bu: Floats) -> Floats:
            rows_b1 = (weights_bu @ rows_u)[:, None]
            return np.where(rows_b1 > 0, weights_bu @ active_ug / np.maximum(rows_b1, 1), np.nan)

        tokens = int(rows_u.sum())
        explained_g, l0_g = explained(once_1u)[0], l0(once_1u)[0]
        explained_bg, l0_bg = explained(weights_bu), l0(weights_bu)
        prefixes = [
            {
                "features": int(width),
                "variance_explained": float(explained_g[g]),
                **_interval("variance_explained", explained_bg[:, g]),
                "l0": float(l0_g[g]),
                **_interval("l0", l0_bg[:, g]),
            }
            for g, width in enumerate(np.cumsum(self._sae.groups))
        ]
        return {
            "tokens": tokens,
            **{name: value for name, value in prefixes[-1].items() if name != "features"},
            "variance_explained_by_group": explained_g.tolist(),
            "mean_squared_error": float(errors_ug[:, -1].sum()) / (tokens * self._sae.d),
            "prefixes": prefixes,
        }

    @staticmethod
    def _shares(fired_f: NDArray[np.integer], tokens: int) -> dict[str, float]:
        return {
            "dead_share": float((fired_f == 0).mean()),
            "dense_share": float((fired_f > DENSE_RATE * tokens).mean()),
        }

    def _dense(self, units: NDArray[np.intp], weights_bu: Floats) -> NDArray[np.bool_]:
        """(B, F) whether a feature is dense on a resample."""
        bar_b1 = DENSE_RATE * (weights_bu @ self._rows_uk[units].sum(1))[:, None]
        return np.asarray(weights_bu.astype(np.float32) @ self._fired_uf[units] > bar_b1)

    def _dead_on_half(self, units: NDArray[np.intp], seed: int, draws: int = 10) -> float:
        """Mean dead share on a random half of the units: how much it still falls with more of them."""
        generator = np.random.default_rng(seed)
        halves = [generator.permutation(units)[: max(1, len(units) // 2)] for _ in range(draws)]
        return float(np.mean([(self._fired_uf[half].sum(0) == 0).mean() for half in halves]))


def by_group(sae: MatryoshkaSAE, codes: SparseCodes) -> tuple[torch.Tensor, torch.Tensor]:
    """What each group adds to the reconstruction, (n, G, d), without the bias, and its active features, (n, G)."""
    n, n_groups = len(codes), len(sae.groups)
    ends_g = torch.tensor(sae.groups, device=codes.indices.device).cumsum(0)
    group_m = torch.bucketize(codes.indices, ends_g, right=True)
    # Within a row features rise, so that the entries lie in the order of (row, group).
    active = torch.bincount(codes.rows() * n_groups + group_m, minlength=n * n_groups)
    offsets = torch.cat([active.new_zeros(1), active.cumsum(0)[:-1]]) if n else active.new_zeros(0)
    sums = functional.embedding_bag(
        codes.indices, sae.W_dec, offsets, mode="sum", per_sample_weights=codes.values.to(sae.W_dec.dtype)
    )
    return sums.reshape(n, n_groups, sae.d), active.reshape(n, n_groups)


def _interval(name: str, values_b: NDArray[Any]) -> dict[str, float]:
    low, high = percentile_interval(values_b)
    return {f"{name}_low": low, f"{name}_high": high}


def _counts(rows_m: NDArray[Any], columns_m: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.bincount(rows_m * shape[1] + columns_m, minlength=shape[0] * shape[1]).reshape(shape)


def _add_rows(sums_cd: NDArray[np.float32], cells_n: NDArray[Any], rows_nd: Floats) -> None:
    """Add each row to its cell."""
    cells, compact_n = np.unique(cells_n, return_inverse=True)
    order = np.argsort(compact_n, kind="stable")
    starts = np.searchsorted(compact_n[order], np.arange(len(cells)))
    sums_cd[cells] += np.add.reduceat(rows_nd[order], starts, axis=0).astype(np.float32)
