"""Statistics of every feature from one pass over the store, in memory that does not grow with its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from activations.roles import IMAGE_NAMES, Role
from autointerp.pairs import SeenPairs
from autointerp.schema import DENSE_RATE, ROLE_NAMES
from autointerp.units import TEXT_ROLES

#: Histogram bins are a quarter of an octave wide, from 2^−12 to 2^12; what lies outside goes into the outermost bins.
_BINS_PER_OCTAVE = 4
_LOWEST, _HIGHEST = -12, 12
_N_BINS = (_HIGHEST - _LOWEST) * _BINS_PER_OCTAVE
_FRONTAL = IMAGE_NAMES.index("frontal")


class FeatureStats:
    """Counts, sums and maxima of F features.

    Args:
        n_features: F.
        n_studies, n_patients: how many there are; study and patient numbers lie below.
        grid: (rows, columns) of the patch grid, or None without images.
    """

    def __init__(self, n_features: int, n_studies: int, n_patients: int, grid: tuple[int, int] | None) -> None:
        self.n_features, self.grid, self.n_tokens = n_features, grid, 0
        self._fires = np.zeros(n_features, dtype=np.int64)
        self._sums = np.zeros(n_features)
        self._max = np.zeros(n_features, dtype=np.float32)
        self._roles = np.zeros((n_features, len(ROLE_NAMES)), dtype=np.int64)
        self._bins = np.zeros((n_features, _N_BINS), dtype=np.int64)
        self._studies = SeenPairs(n_features, n_studies)
        self._patients = SeenPairs(n_features, n_patients)
        self._frontals = SeenPairs(n_features, n_studies)
        self._map = np.zeros(0 if grid is None else n_features * grid[0] * grid[1])

    def add(
        self,
        tokens: Mapping[str, np.ndarray],
        patient_n: np.ndarray,
        row_m: np.ndarray,
        feature_m: np.ndarray,
        value_m: np.ndarray,
    ) -> None:
        """Count n tokens and their m activations.

        Args:
            tokens: token columns, each (n,).
            patient_n: patient number of each token.
            row_m, feature_m, value_m: token (0 … n − 1), feature and value (> 0) of each activation.
        """
        n_features = self.n_features
        study_m, role_m = tokens["study"][row_m], tokens["role"][row_m].astype(np.int64)
        self.n_tokens += len(patient_n)
        self._fires += np.bincount(feature_m, minlength=n_features)
        self._sums += np.bincount(feature_m, weights=value_m, minlength=n_features)
        np.maximum.at(self._max, feature_m, value_m.astype(np.float32))
        self._roles += _count_pairs(feature_m, role_m, self._roles.shape)
        self._bins += _count_pairs(feature_m, _bin_of(value_m), self._bins.shape)
        self._studies.add(feature_m, study_m)
        self._patients.add(feature_m, patient_n[row_m])
        self._add_maps(tokens, study_m, row_m, feature_m, value_m)

    def _add_maps(
        self,
        tokens: Mapping[str, np.ndarray],
        study_m: np.ndarray,
        row_m: np.ndarray,
        feature_m: np.ndarray,
        value_m: np.ndarray,
    ) -> None:
        if self.grid is None:
            return
        n_rows, n_cols = self.grid
        frontal = np.flatnonzero((tokens["image"][row_m] == _FRONTAL) & (tokens["role"][row_m] == Role.IMAGE))
        at = row_m[frontal]
        patch = tokens["row"][at].astype(np.int64) * n_cols + tokens["col"][at]
        np.add.at(self._map, feature_m[frontal].astype(np.int64) * (n_rows * n_cols) + patch, value_m[frontal])
        self._frontals.add(feature_m[frontal], study_m[frontal])

    @property
    def image_share(self) -> np.ndarray:
        """(F,) share of firing tokens that are image patches, 0 if dead."""
        return self._roles[:, Role.IMAGE] / np.maximum(self._fires, 1)

    @property
    def role_shares(self) -> np.ndarray:
        """(F, roles) share of firing tokens per role, 0 if dead."""
        return self._roles / np.maximum(self._fires, 1)[:, None]

    @property
    def max_activation(self) -> np.ndarray:
        """(F,) float32."""
        return self._max

    def mean_maps(self) -> np.ndarray | None:
        """(F, rows · cols) float32: mean activation per frontal patch over the studies in whose frontal it fires."""
        if self.grid is None:
            return None
        n_studies = np.maximum(self._frontals.counts(), 1)
        return (self._map.reshape(self.n_features, -1) / n_studies[:, None]).astype(np.float32)

    def columns(self) -> dict[str, Any]:
        """The columns of the feature table that come from counting."""
        fires = self._fires
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
            "n_patients": self._patients.counts(),
            "max_activation": self._max,
            "mean_activation": self._sums / np.maximum(fires, 1),
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
        all_edges = np.exp2(np.arange(_N_BINS + 1) / _BINS_PER_OCTAVE + _LOWEST).astype(np.float32)
        counts, edges = [], []
        for bins in self._bins:
            used = np.flatnonzero(bins)
            span = slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
            counts.append(bins[span])
            edges.append(all_edges[span.start : span.stop + 1] if len(used) else all_edges[:0])
        return counts, edges


def _bin_of(value_m: np.ndarray) -> np.ndarray:
    octave_m = np.log2(np.maximum(value_m.astype(np.float64), 2.0**_LOWEST))
    return np.clip(((octave_m - _LOWEST) * _BINS_PER_OCTAVE).astype(np.int64), 0, _N_BINS - 1)


def _count_pairs(first_m: np.ndarray, second_m: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    flat = np.bincount(first_m.astype(np.int64) * shape[1] + second_m, minlength=shape[0] * shape[1])
    return flat.reshape(shape)
