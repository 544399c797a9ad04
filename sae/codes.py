"""Sparse feature activations: the rows of a (n, F) matrix that is almost everywhere zero."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sae.errors import SAEError


@dataclass(frozen=True, eq=False)
class SparseCodes:
    """Feature activations of n tokens in compressed rows.

    Row i holds the entries `row_offsets[i]:row_offsets[i + 1]` of `values` and `indices`; within a row the feature
    indices rise strictly.

    Attributes:
        values: (m,) activations.
        indices: (m,) int64 feature of each activation.
        row_offsets: (n + 1,) int64, from 0 to m.
        n_features: F.

    Raises:
        SAEError: shapes or types disagree, or the offsets do not run from 0 to m.
    """

    values: torch.Tensor
    indices: torch.Tensor
    row_offsets: torch.Tensor
    n_features: int

    def __post_init__(self) -> None:
        values, indices, offsets = self.values, self.indices, self.row_offsets
        if values.ndim != 1 or indices.shape != values.shape:
            got = f"{tuple(values.shape)} and {tuple(indices.shape)}"
            raise SAEError(f"values and indices have shapes {got}: both must be (m,)")
        if indices.dtype != torch.int64 or offsets.dtype != torch.int64:
            raise SAEError(f"indices are {indices.dtype}, row_offsets {offsets.dtype}: both must be int64")
        if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(values):
            raise SAEError(f"row_offsets must run from 0 to the number of values ({len(values)})")

    @classmethod
    def from_dense(cls, acts_nf: torch.Tensor) -> SparseCodes:
        """Every non-zero entry of acts_nf, shape (n, F)."""
        if acts_nf.ndim != 2:
            raise SAEError(f"dense codes have shape {tuple(acts_nf.shape)}: must be (n, F)")
        n_rows, n_features = acts_nf.shape
        flat = acts_nf.reshape(-1)
        return cls.from_flat(torch.nonzero(flat).squeeze(1), flat, n_rows, n_features)

    @classmethod
    def from_flat(cls, flat_m: torch.Tensor, dense: torch.Tensor, n_rows: int, n_features: int) -> SparseCodes:
        """The entries at the rising positions flat_m of `dense`, a flattened (n_rows, n_features) matrix."""
        rows_m = torch.div(flat_m, n_features, rounding_mode="floor")
        return cls(dense[flat_m], flat_m - rows_m * n_features, offsets_of(rows_m, n_rows), n_features)

    @classmethod
    def concatenate(cls, parts: list[SparseCodes]) -> SparseCodes:
        """The rows of all parts, one after the other; at least one part."""
        counts_n = torch.cat([part.row_offsets.diff() for part in parts])
        values = torch.cat([part.values for part in parts])
        indices = torch.cat([part.indices for part in parts])
        return cls(values, indices, _offsets_from_counts(counts_n), parts[0].n_features)

    def __len__(self) -> int:
        return len(self.row_offsets) - 1

    @property
    def l0(self) -> float:
        """Mean number of active features a row."""
        return len(self.values) / max(1, len(self))

    def rows(self) -> torch.Tensor:
        """(m,) int64 row of each entry."""
        return torch.repeat_interleave(self.row_offsets.diff())

    def row(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and feature indices of row i."""
        if not 0 <= i < len(self):
            raise SAEError(f"row {i} asked of codes with {len(self)} rows")
        span = slice(int(self.row_offsets[i]), int(self.row_offsets[i + 1]))
        return self.values[span], self.indices[span]

    def prefix(self, width: int) -> SparseCodes:
        """The same rows with the features below `width` only; F stays."""
        keep_m = self.indices < width
        rows_m = self.rows()[keep_m]
        return SparseCodes(self.values[keep_m], self.indices[keep_m], offsets_of(rows_m, len(self)), self.n_features)

    def dense(self) -> torch.Tensor:
        """(n, F) matrix with zeros where nothing is stored."""
        dense_nf = self.values.new_zeros(len(self), self.n_features)
        dense_nf[self.rows(), self.indices] = self.values
        return dense_nf

    def counts(self) -> torch.Tensor:
        """(F,) int64 number of rows in which each feature is stored."""
        return torch.bincount(self.indices, minlength=self.n_features)

    def to(self, device: str | torch.device) -> SparseCodes:
        """The same codes on another device."""
        return SparseCodes(
            self.values.to(device), self.indices.to(device), self.row_offsets.to(device), self.n_features
        )


def offsets_of(rows_m: torch.Tensor, n_rows: int) -> torch.Tensor:
    """(n_rows + 1,) offsets of sorted row numbers (m,)."""
    return _offsets_from_counts(torch.bincount(rows_m, minlength=n_rows))


def _offsets_from_counts(counts_n: torch.Tensor) -> torch.Tensor:
    return torch.cat([counts_n.new_zeros(1), counts_n.cumsum(0)])
