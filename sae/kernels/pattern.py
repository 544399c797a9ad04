"""Which entries of the (B, F) matrix of activations a step works on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from sae.sparse import offsets_of


@dataclass(frozen=True)
class Pattern:
    """The kept entries in row order, and what brings them into feature order.

    Attributes:
        n_rows: B.
        n_features: F.
        widths: rising prefix widths, G of them.
        rows_m: int64 row of each entry.
        features_m: int64 feature of each entry.
        bags_m: row · G + group: entries of one row and one group lie side by side.
        feature_offsets_f: first entry of each feature in feature order.
        counts_f: entries of each feature.
    """

    n_rows: int
    n_features: int
    widths: tuple[int, ...]
    rows_m: torch.Tensor
    features_m: torch.Tensor
    bags_m: torch.Tensor
    feature_offsets_f: torch.Tensor
    counts_f: torch.Tensor

    @property
    def n_bags(self) -> int:
        return self.n_rows * len(self.widths)

    @cached_property
    def bag_offsets(self) -> torch.Tensor:
        """(B · G,) first entry of each bag."""
        return offsets_of(self.bags_m, self.n_bags)[0]

    @cached_property
    def by_feature_m(self) -> torch.Tensor:
        """(m,) positions that bring the entries into feature order, rows rising within a feature."""
        # A narrow type sorts several times faster.
        narrow_m = self.features_m.to(torch.int16 if self.n_features <= 1 << 15 else torch.int32)
        return torch.sort(narrow_m, stable=True).indices


def pattern_of(flat: torch.Tensor, shape: tuple[int, int], widths: tuple[int, ...], groups_f: torch.Tensor) -> Pattern:
    """From rising flat positions in the (B, F) matrix.

    Args:
        flat: (m,) int64.
        shape: B and F.
        widths: rising prefix widths.
        groups_f: (F,) int64 group of each feature.
    """
    n_rows, n_features = shape
    rows_m = torch.div(flat, n_features, rounding_mode="floor")
    features_m = flat - rows_m * n_features
    offsets_f, counts_f = offsets_of(features_m, n_features)
    bags_m = rows_m * len(widths) + groups_f[features_m]
    return Pattern(n_rows, n_features, widths, rows_m, features_m, bags_m, offsets_f, counts_f)
