"""Statistics of every feature from one pass over the store, in memory that does not grow with its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from activations.roles import IMAGE_NAMES, Role
from autointerp.firing import Firing
from autointerp.pairs import SeenPairs
from autointerp.schema import DENSE_RATE, ROLE_NAMES
from autointerp.units import TEXT_ROLES

#: Histogram bins are a quarter of an octave wide, from 2^−12 to 2^12; what lies outside goes into the outermost bins.
_BINS_PER_OCTAVE = 4
_LOWEST, _HIGHEST = -12, 12
_N_BINS = (_HIGHEST - _LOWEST) * _BINS_PER_OCTAVE
#: One in the fixed point of the sums: exact to 6·10⁻⁸, and sums may reach 5·10¹¹.
_ONE = 2.0**24
#: How states are joined where it is not by adding.
_JOINED: dict[str, np.ufunc] = {"max": np.maximum, "studies": np.bitwise_or, "frontals": np.bitwise_or}
#: Features whose maps are averaged at once.
_BLOCK = 1024
_FRONTAL = IMAGE_NAMES.index("frontal")


class FeatureStats:
    """Counts, sums and maxima of F features.

    What is counted does not depend on the order of the chunks, nor on who counts which of them: sums are kept as whole
    multiples of 2⁻²⁴, rounded once a chunk. So several processes, and one that was stopped, come to the same bits.

    Memory: 8 · (F · (grid + 110) + d) bytes, and 2 bits for each pair of a feature and a study.

    Args:
        n_features: F.
        width: d, of the activations.
        patient_of_study: patient number of each study number.
        grid: (rows, columns) of the patch grid, or None without images.
    """

    def __init__(self, n_features: int, width: int, patient_of_study: np.ndarray, grid: tuple[int, int] | None) -> None:
        self.n_features, self.grid, self._patient_of_study = n_features, grid, patient_of_study
        n_studies, n_patches = len(patient_of_study), 0 if grid is None else grid[0] * grid[1]
        self._studies = SeenPairs(n_studies, n_features)
        self._frontals = SeenPairs(n_studies if grid else 0, n_features)
        self.state: dict[str, np.ndarray] = {
            "tokens": np.zeros(2, dtype=np.int64),  # all, and those of running text
            "text_sum": np.zeros(width, dtype=np.int64),
            "fires": np.zeros(n_features, dtype=np.int64),
            "sums": np.zeros(n_features, dtype=np.int64),
            "max": np.zeros(n_features, dtype=np.float32),
            "roles": np.zeros((n_features, len(ROLE_NAMES)), dtype=np.int64),
            "bins": np.zeros((n_features, _N_BINS), dtype=np.int64),
            "map": np.zeros((n_features, n_patches), dtype=np.int64),
            "studies": self._studies.bits,
            "frontals": self._frontals.bits,
        }

    def add(self, tokens: Mapping[str, np.ndarray], acts_nd: np.ndarray, firing: Firing) -> None:
        """Count n tokens.

        Args:
            tokens: token columns, each (n,).
            acts_nd: their residuals, for the mean of the text tokens.
            firing: their activations.
        """
        state = self.state
        is_text = np.isin(tokens["role"], [int(role) for role in TEXT_ROLES])
        state["tokens"] += [len(is_text), is_text.sum()]
        state["text_sum"] += _fixed(acts_nd[is_text].sum(axis=0, dtype=np.float64))
        if len(firing) == 0:
            return
        active, starts, feature_m = firing.active_a, firing.starts_a, firing.feature_m
        state["fires"][active] += firing.counts()
        state["sums"][active] += _fixed(np.add.reduceat(firing.value_m.astype(np.float64), starts))
        state["max"][active] = np.maximum(state["max"][active], np.maximum.reduceat(firing.value_m, starts))
        _count(state["roles"], feature_m, tokens["role"].astype(np.int64)[firing.row_m])
        _count(state["bins"], feature_m, _bin_of(firing.value_m))
        study_m = tokens["study"].astype(np.int64)[firing.row_m]
        self._studies.add(study_m, feature_m)
        if self.grid is not None:
            self._add_maps(tokens, study_m, firing)

    def _add_maps(self, tokens: Mapping[str, np.ndarray], study_m: np.ndarray, firing: Firing) -> None:
        is_frontal = (tokens["image"] == _FRONTAL) & (tokens["role"] == Role.IMAGE)
        at = np.flatnonzero(is_frontal[firing.row_m])
        row_m, feature_m = firing.row_m[at], firing.feature_m[at]
        patch = tokens["row"].astype(np.int64) * self._n_cols + tokens["col"]
        _count(self.state["map"], feature_m, patch[row_m], _fixed(firing.value_m[at].astype(np.float64)))
        self._frontals.add(study_m[at], feature_m)

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Add what another one has counted; arrays are asked for one by one, so that they may come from a file."""
        for name, own in self.state.items():
            _JOINED.get(name, np.add)(own, state[name], out=own)

    @property
    def _n_cols(self) -> int:
        return 0 if self.grid is None else self.grid[1]

    @property
    def n_tokens(self) -> int:
        return int(self.state["tokens"][0])

    @property
    def mean_text_d(self) -> np.ndarray | None:
        """(d,) mean residual of the tokens of running text; None without such tokens."""
        n_text = int(self.state["tokens"][1])
        return self.state["text_sum"] / _ONE / n_text if n_text else None

    @property
    def image_share(self) -> np.ndarray:
        """(F,) share of firing tokens that are image patches, 0 if dead."""
        return self.role_shares[:, Role.IMAGE]

    @property
    def role_shares(self) -> np.ndarray:
        """(F, roles) share of firing tokens per role, 0 if dead."""
        return self.state["roles"] / np.maximum(self.state["fires"], 1)[:, None]

    @property
    def max_activation(self) -> np.ndarray:
        """(F,) float32."""
        return self.state["max"]

    def mean_maps(self) -> np.ndarray | None:
        """(F, rows · cols) float32: mean activation per frontal patch over the studies in whose frontal it fires."""
        if self.grid is None:
            return None
        n_studies = np.maximum(self._frontals.counts(), 1)
        means = np.empty(self.state["map"].shape, dtype=np.float32)
        for block in range(0, self.n_features, _BLOCK):
            here = slice(block, block + _BLOCK)
            means[here] = self.state["map"][here] / _ONE / n_studies[here, None]
        return means

    def columns(self) -> dict[str, Any]:
        """The columns of the feature table that come from counting."""
        fires = self.state["fires"]
        rate = fires / max(self.n_tokens, 1)
        shares = self.role_shares.astype(np.float32).tolist()
        histograms, edges = self._histograms()
        n_rows, n_cols = self.grid or (0, 0)
        maps = self.mean_maps()
        return {
            "feature": np.arange(self.n_features),
            "firing_rate": rate,
            "n_fires": fires,
            "n_studies": self._studies.counts(),
            "n_patients": self._studies.counts(self._patient_of_study),
            "max_activation": self.max_activation,
            "mean_activation": self.state["sums"] / _ONE / np.maximum(fires, 1),
            "histogram": histograms,
            "histogram_edges": edges,
            "role_shares": [dict(zip(ROLE_NAMES, row, strict=True)) for row in shares],
            "image_share": self.image_share,
            "text_share": self.role_shares[:, [int(role) for role in TEXT_ROLES]].sum(axis=1),
            "dead": fires == 0,
            "dense": rate > DENSE_RATE,
            "mean_map": [None] * self.n_features if maps is None else list(maps),
            "map_rows": np.full(self.n_features, n_rows),
            "map_cols": np.full(self.n_features, n_cols),
        }

    def _histograms(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Counts and edges per feature, empty bins at both ends left out."""
        all_edges = _edges()
        counts, edges = [], []
        for bins in self.state["bins"]:
            used = np.flatnonzero(bins)
            span = slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
            counts.append(bins[span])
            edges.append(all_edges[span.start : span.stop + 1] if len(used) else all_edges[:0])
        return counts, edges


def edges_of(middles: Sequence[float]) -> np.ndarray:
    """The edges of neighbouring bins of a histogram, from the middles between them."""
    if len(middles) == 0:
        return _edges()[:0]
    lowest = 2 * middles[0] / (1 + 2 ** (1 / _BINS_PER_OCTAVE))
    first = round((float(np.log2(lowest)) - _LOWEST) * _BINS_PER_OCTAVE)
    return _edges()[first : first + len(middles) + 1]


def _edges() -> np.ndarray:
    return np.exp2(np.arange(_N_BINS + 1) / _BINS_PER_OCTAVE + _LOWEST).astype(np.float32)


def _bin_of(value_m: np.ndarray) -> np.ndarray:
    octave_m = np.log2(np.maximum(value_m.astype(np.float64), 2.0**_LOWEST))
    return np.clip(((octave_m - _LOWEST) * _BINS_PER_OCTAVE).astype(np.int64), 0, _N_BINS - 1)


def _count(table: np.ndarray, first_m: np.ndarray, second_m: np.ndarray, by_m: np.ndarray | int = 1) -> None:
    np.add.at(table.reshape(-1), first_m.astype(np.int64) * table.shape[1] + second_m, by_m)


def _fixed(values: np.ndarray) -> np.ndarray:
    """float64 as int64 multiples of 1 / _ONE."""
    return np.rint(values * _ONE).astype(np.int64)
