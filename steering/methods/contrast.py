"""What the patches of frontal images hold in studies with a finding and in studies without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from activations import ActivationStore
from activations.roles import IMAGE_NAMES, Role
from sae.model import MatryoshkaSAE
from sae.ranking import auroc_per_label
from steering.errors import SteeringError

#: Features that fire in fewer studies of the finding than this share are no carriers of it.
MIN_SHARE = 0.2
#: Studies needed with the finding, and without it.
MIN_STUDIES = 2


@dataclass(frozen=True)
class Contrast:
    """Means over studies with and without a finding, patch by patch (P = rows · columns patches of the frontal image).

    Attributes:
        key: the finding.
        grid: (rows, columns).
        features_with_pf, features_without_pf: mean activation of every feature, (P, F).
        residual_with_pd, residual_without_pd: mean residual, (P, d).
        auroc_f: area under the ROC curve of a study's mean activation, (F,).
        share_f: share of studies with the finding in which the feature fires, (F,).
        n_with, n_without: studies.
    """

    key: str
    grid: tuple[int, int]
    features_with_pf: np.ndarray
    features_without_pf: np.ndarray
    residual_with_pd: np.ndarray
    residual_without_pd: np.ndarray
    auroc_f: np.ndarray
    share_f: np.ndarray
    n_with: int
    n_without: int

    @property
    def weight_f(self) -> np.ndarray:
        """How much a feature carries the finding, (F,); see :func:`carrier_weights`."""
        difference_f = (self.features_with_pf - self.features_without_pf).mean(axis=0)
        return carrier_weights(difference_f, self.auroc_f, self.share_f)

    def carriers(self, n: int) -> tuple[int, ...]:
        """The ``n`` features of most weight, the strongest first; fewer if fewer have any.

        Raises:
            SteeringError: no feature is more active where the finding is.
        """
        weight_f = self.weight_f
        order = [int(f) for f in np.argsort(-weight_f, kind="stable")[:n] if weight_f[f] > 0]
        if not order:
            raise SteeringError(f"finding {self.key!r}: no feature is more active where it is present")
        return tuple(order)

    def own_map(self, feature: int) -> np.ndarray:
        """Mean activation over the studies with the finding, (rows, columns)."""
        return self.features_with_pf[:, feature].reshape(self.grid)

    def difference_map(self, feature: int) -> np.ndarray:
        """What the finding adds to the mean activation, (rows, columns), not below 0."""
        added_p = self.features_with_pf[:, feature] - self.features_without_pf[:, feature]
        return np.maximum(added_p, 0).reshape(self.grid)

    @property
    def field_pd(self) -> np.ndarray:
        """What the finding adds to the mean residual of each patch, (P, d)."""
        return self.residual_with_pd - self.residual_without_pd


def carrier_weights(difference_f: np.ndarray, auroc_f: np.ndarray, share_f: np.ndarray) -> np.ndarray:
    """How much each feature carries a finding, (F,): difference of means · max(2 AUROC − 1, 0)², not below 0.

    The difference alone would also pick features that are large in every chest, and steering these changes other
    findings too. Features that fire in less than :data:`MIN_SHARE` of the studies with the finding weigh 0.
    """
    selective_f = np.maximum(2 * auroc_f - 1, 0) ** 2
    return np.where(share_f >= MIN_SHARE, np.maximum(difference_f, 0) * selective_f, 0.0)


def contrasts(
    store: ActivationStore,
    site: str,
    sae: MatryoshkaSAE,
    keys: Sequence[str],
    labels_sk: np.ndarray,
    use_s: np.ndarray,
    grid: tuple[int, int],
) -> dict[str, Contrast]:
    """One streaming pass over the frontal patches of a store; memory grows with P · (F + d) · findings.

    Args:
        keys: K findings.
        labels_sk: (S, K): 1 present, 0 absent, NaN unknown.
        use_s: (S,) bool: studies to look at; give the half on which things are chosen.

    Raises:
        SteeringError: too few studies with or without a finding.
    """
    sums = [_Sums(key, labels_sk[:, k], use_s, grid, sae.n_features, store.width(site)) for k, key in enumerate(keys)]
    wanted_s = use_s & ~np.isnan(labels_sk).all(axis=1)
    means_sf = torch.zeros(len(use_s), sae.n_features)
    counts_s = torch.zeros(len(use_s))
    for chunk in store.iter_chunks(site, columns=("study", "role", "image", "row", "col")):
        tokens = chunk.tokens
        frontal = (tokens["role"] == int(Role.IMAGE)) & (tokens["image"] == IMAGE_NAMES.index("frontal"))
        inside = np.flatnonzero(frontal & wanted_s[tokens["study"]])
        if not len(inside):
            continue
        study_n = tokens["study"][inside].astype(np.int64)
        patch_n = tokens["row"][inside].astype(np.int64) * grid[1] + tokens["col"][inside]
        x_nd = torch.from_numpy(chunk.acts_nd[inside])
        acts_nf = sae.encode(x_nd).dense().float().cpu()
        means_sf.index_add_(0, torch.from_numpy(study_n), acts_nf)
        counts_s.index_add_(0, torch.from_numpy(study_n), torch.ones(len(study_n)))
        for of_key in sums:
            of_key.add(study_n, patch_n, acts_nf, x_nd)
    means_sf /= counts_s.clamp(min=1)[:, None]
    seen_s = counts_s.numpy() > 0
    return {of_key.key: of_key.contrast(means_sf.numpy(), seen_s) for of_key in sums}


class _Sums:
    """Running sums of one finding, class 1 (with) after class 0 (without)."""

    def __init__(
        self, key: str, label_s: np.ndarray, use_s: np.ndarray, grid: tuple[int, int], n_features: int, width: int
    ) -> None:
        self.key, self._grid = key, grid
        self._class_s = np.where(use_s & ~np.isnan(label_s), label_s, -1).astype(np.int64)
        self._patches = grid[0] * grid[1]
        self._features = torch.zeros(2 * self._patches, n_features)
        self._residual = torch.zeros(2 * self._patches, width)
        self._counts = torch.zeros(2 * self._patches)

    def add(self, study_n: np.ndarray, patch_n: np.ndarray, acts_nf: torch.Tensor, x_nd: torch.Tensor) -> None:
        class_n = self._class_s[study_n]
        known = np.flatnonzero(class_n >= 0)
        cell = torch.from_numpy(class_n[known] * self._patches + patch_n[known])
        rows = torch.from_numpy(known)
        self._features.index_add_(0, cell, acts_nf[rows])
        self._residual.index_add_(0, cell, x_nd[rows])
        self._counts.index_add_(0, cell, torch.ones(len(cell)))

    def contrast(self, means_sf: np.ndarray, seen_s: np.ndarray) -> Contrast:
        with_s, without_s = (seen_s & (self._class_s == c) for c in (1, 0))
        n_with, n_without = int(with_s.sum()), int(without_s.sum())
        if min(n_with, n_without) < MIN_STUDIES:
            raise SteeringError(
                f"finding {self.key!r}: {n_with} studies with and {n_without} without it; cache more studies"
            )
        count = self._counts.clamp(min=1)[:, None]
        features, residual = (self._features / count).numpy(), (self._residual / count).numpy()
        known_s = with_s | without_s
        return Contrast(
            self.key,
            self._grid,
            *_halves(features, self._patches),
            *_halves(residual, self._patches),
            auroc_f=auroc_per_label(means_sf[known_s], with_s[known_s][:, None].astype(float))[0],
            share_f=(means_sf[with_s] > 0).mean(axis=0),
            n_with=n_with,
            n_without=n_without,
        )


def _halves(values: Any, patches: int) -> tuple[Any, Any]:
    """With, without."""
    return values[patches:], values[:patches]
