"""A dictionary whose features are known, to measure how well an autoencoder finds features.

Tokens are sums of few of T unit directions in d < T dimensions:

    x = centre + Σ_{t active} strength_t · direction_t + noise

Of the T features, parents may fire with one of their children (a child never fires without its parent, children of one
parent exclude each other), and free features lie in clusters whose members tend to fire together (a Gaussian copula).
How often a feature fires falls as a power of its rank, as it does in language models.

What is measured: Hungarian matching of decoder rows to directions (the "mean correlation coefficient" of
arXiv 2505.20254), each matched feature as a detector of its direction (F1), and absorption (arXiv 2409.14507): a
parent's feature that is silent because a child's feature also writes the parent's direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from sae.codes import SparseCodes
from sae.errors import SAEError
from sae.matching import match
from sae.model import MatryoshkaSAE

# Share of the children of one parent in its firings with a child: the first is the most common.
_CHILD_SHARES = (3.0, 2.0, 1.0)
_RANK_SHIFT, _RANK_POWER = 8.0, 0.8
# A parent whose feature is not near its direction was not found, so nothing can have absorbed it.
_FOUND = 0.7
# How much more of the parent's direction than the child itself has makes a child's feature an absorber.
_ABSORBED = 0.2
_CHUNK = 8192


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """What is planted. By default T = 256 parents + 768 children + 1,024 free = 2,048 features in 256 dimensions."""

    d: int = 256
    """Width of the tokens."""

    n_parents: int = 256
    """Features that have children, three each."""

    n_free: int = 1024
    """Features without."""

    cluster: int = 8
    """Free features that are correlated with each other."""

    correlation: float = 0.5
    """Of the hidden normal variables of one cluster; 0 makes free features independent."""

    mean_active: float = 12.0
    """Parents and free features active in a token, on average; children come on top."""

    p_child: float = 0.6
    """How often an active parent comes with a child."""

    noise: float = 0.02
    """Norm of the noise, typically, where features have strengths around 1."""

    def __post_init__(self) -> None:
        for name in ("d", "n_free", "cluster", "n_parents"):
            if getattr(self, name) <= 0:
                raise SAEError(f"{name} = {getattr(self, name)}: must be a positive number")
        if self.n_free % self.cluster:
            raise SAEError(f"n_free = {self.n_free}: must be a multiple of cluster ({self.cluster})")
        if not 0 <= self.correlation < 1 or not 0 <= self.p_child <= 1:
            raise SAEError(f"correlation = {self.correlation}, p_child = {self.p_child}: must lie between 0 and 1")


@dataclass(frozen=True)
class Recovery:
    """How much of the planted dictionary an autoencoder found.

    Attributes:
        mcc: mean cosine of matched decoder rows and directions; unmatched directions count 0.
        f1: mean over directions of the F1 of their matched feature as a detector.
        absorption: share of (parent and child active) tokens in which the parent was absorbed; NaN if none was found.
        parents_found: share of the parents whose matched row has a cosine of at least 0.7.
        variance_explained: 1 − squared error / variance.
        l0: active features a token.
        dead: share of features that never fire.
    """

    mcc: float
    f1: float
    absorption: float
    parents_found: float
    variance_explained: float
    l0: float
    dead: float


class SyntheticDictionary:
    """Planted features, and tokens made of them.

    Attributes:
        directions_td: (T, d) unit rows: parents first, then their children, then free features.
        parent_t: (T,) int64 parent of each feature, −1 where it has none.
        probability_t: (T,) how often each fires.
        centre_d: (d,) what every token has in common.
    """

    def __init__(self, config: SyntheticConfig | None = None, *, seed: int) -> None:
        self.config = config or SyntheticConfig()
        n_parents, n_free, fan = self.config.n_parents, self.config.n_free, len(_CHILD_SHARES)
        generator = torch.Generator().manual_seed(seed)
        self.n_features = n_parents * (1 + fan) + n_free
        directions_td = torch.randn(self.n_features, self.config.d, generator=generator)
        self.directions_td = directions_td / directions_td.norm(dim=1, keepdim=True)
        centre_d = torch.randn(self.config.d, generator=generator)
        self.centre_d = 2 * centre_d / centre_d.norm()
        # Firing rates by rank, in random order over parents and free features.
        rank_r = torch.randperm(n_parents + n_free, generator=generator).double()
        rate_r = (rank_r + 1 + _RANK_SHIFT) ** -_RANK_POWER
        rate_r = (self.config.mean_active * rate_r / rate_r.sum()).clamp(max=0.5).float()
        shares = torch.tensor(_CHILD_SHARES)
        self._child_shares = self.config.p_child * shares / shares.sum()
        parents_p, self._free_rate_f = rate_r[:n_parents], rate_r[n_parents:]
        self.probability_t = torch.cat(
            [parents_p, (parents_p[:, None] * self._child_shares).flatten(), self._free_rate_f]
        )
        self.parent_t = torch.full((self.n_features,), -1)
        self.parent_t[n_parents : n_parents * (1 + fan)] = torch.arange(n_parents).repeat_interleave(fan)

    def draw(self, n: int, seed: int) -> tuple[torch.Tensor, SparseCodes]:
        """n tokens: (n, d) and the strengths of the features that made them."""
        generator = torch.Generator().manual_seed(seed)
        sizes = [min(_CHUNK, n - start) for start in range(0, n, _CHUNK)]
        parts = [self._draw_chunk(size, generator) for size in sizes]
        return torch.cat([x_nd for x_nd, _ in parts]), SparseCodes.concatenate([codes for _, codes in parts])

    def _draw_chunk(self, n: int, generator: torch.Generator) -> tuple[torch.Tensor, SparseCodes]:
        config = self.config
        active_nt = torch.cat([*self._families(n, generator), self._clusters(n, generator)], dim=1)
        strength_nt = (1 + 0.25 * torch.randn(active_nt.shape, generator=generator)).clamp(min=0.25)
        codes = SparseCodes.from_dense(strength_nt * active_nt)
        x_nd = functional.embedding_bag(
            codes.indices, self.directions_td, codes.row_offsets[:-1], mode="sum", per_sample_weights=codes.values
        )
        noise_nd = torch.randn(x_nd.shape, generator=generator) * (config.noise / config.d**0.5)
        return x_nd + self.centre_d + noise_nd, codes

    def _families(self, n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Parents (n, P) and their children (n, 3 P), bool."""
        rate_p = self.probability_t[: self.config.n_parents]
        parents_np = torch.rand(n, len(rate_p), generator=generator) < rate_p
        # One number decides which child comes along, if any: they exclude each other.
        which_np1 = torch.rand(n, len(rate_p), 1, generator=generator)
        edges = torch.cat([torch.zeros(1), self._child_shares.cumsum(0)])
        chosen_npc = (which_np1 >= edges[:-1]) & (which_np1 < edges[1:]) & parents_np[:, :, None]
        return parents_np, chosen_npc.reshape(n, -1)

    def _clusters(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Free features (n, n_free), bool: a hidden normal variable over the quantile of the rate."""
        rho, size = self.config.correlation, self.config.cluster
        shared_nc = torch.randn(n, self.config.n_free // size, generator=generator).repeat_interleave(size, dim=1)
        own_nf = torch.randn(n, self.config.n_free, generator=generator)
        bar_f = torch.distributions.Normal(0.0, 1.0).icdf(1 - self._free_rate_f)
        return rho**0.5 * shared_nc + (1 - rho) ** 0.5 * own_nf > bar_f


@torch.no_grad()
def recovery(sae: MatryoshkaSAE, dictionary: SyntheticDictionary, x_nd: torch.Tensor, truth: SparseCodes) -> Recovery:
    """Measure an autoencoder on tokens that `dictionary.draw` made and that it was not trained on."""
    rows_fd = sae.W_dec.detach().float()
    row_t, cosine_t = match(rows_fd, dictionary.directions_td)
    codes = sae.encode(x_nd)
    error = float((sae.decode(codes) - x_nd).square().sum())
    # Columns of features that were matched, in the order of the directions; the last one is always silent.
    fired_nf = torch.cat([codes.dense() > 0, torch.zeros(len(codes), 1, dtype=torch.bool)], dim=1)
    fired_nt, true_nt = fired_nf[:, row_t], truth.dense() > 0
    hits_t = (fired_nt & true_nt).sum(0).double()
    f1_t = 2 * hits_t / (fired_nt.sum(0) + true_nt.sum(0)).clamp(min=1)
    occurring_t = true_nt.any(0)
    found_t = (cosine_t >= _FOUND) & (dictionary.parent_t < 0)
    n_parents = dictionary.config.n_parents
    return Recovery(
        mcc=float(cosine_t.mean()),
        f1=float(f1_t[occurring_t].mean()),
        absorption=_absorption(rows_fd, row_t, found_t, dictionary, fired_nt, true_nt),
        parents_found=float(found_t[:n_parents].float().mean()),
        variance_explained=1 - error / float((x_nd - x_nd.mean(0)).square().sum()),
        l0=codes.l0,
        dead=float((codes.counts() == 0).float().mean()),
    )


def _absorption(
    rows_fd: torch.Tensor,
    row_t: torch.Tensor,
    found_t: torch.Tensor,
    dictionary: SyntheticDictionary,
    fired_nt: torch.Tensor,
    true_nt: torch.Tensor,
) -> float:
    """Share of tokens with a found parent and a child in which the child's feature stands in for the parent's.

    It does where the parent's feature is silent, the child's fires, and the child's row has at least 0.2 more of the
    parent's direction than the child's own direction has.
    """
    children = torch.nonzero((dictionary.parent_t >= 0) & (row_t >= 0)).squeeze(1)
    children = children[found_t[dictionary.parent_t[children]]]
    if not len(children):
        return float("nan")
    parents = dictionary.parent_t[children]
    directions = dictionary.directions_td
    own_c = (directions[children] * directions[parents]).sum(1)
    learned_c = (rows_fd[row_t[children]] * directions[parents]).sum(1)
    absorbing_c = learned_c - own_c >= _ABSORBED
    together_nc = true_nt[:, children]
    absorbed_nc = together_nc & ~fired_nt[:, parents] & fired_nt[:, children] & absorbing_c
    return float(absorbed_nc.sum() / np.maximum(int(together_nc.sum()), 1))
