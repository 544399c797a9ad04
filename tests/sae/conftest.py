"""Small autoencoders and endless batches for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from sae.config import SAEConfig
from sae.model import MatryoshkaSAE

MakeSAE = Callable[..., MatryoshkaSAE]
MakeBatches = Callable[..., Callable[[int], Iterator[torch.Tensor]]]


@pytest.fixture
def make_sae() -> MakeSAE:
    """A random autoencoder with biases and a threshold that some activations pass and some do not."""

    def make(
        d: int = 12, groups: tuple[int, ...] = (8, 16, 24), k: int = 4, dtype: str = "float32", seed: int = 0
    ) -> MatryoshkaSAE:
        sae = MatryoshkaSAE(SAEConfig(d=d, n_features=sum(groups), k=k, groups=groups, dtype=dtype))
        sae.initialise(seed)
        generator = torch.Generator().manual_seed(seed + 1)
        with torch.no_grad():
            sae.W_enc += 0.1 * torch.randn(sae.W_enc.shape, generator=generator)
            sae.b_enc.copy_(0.1 * torch.randn(sae.b_enc.shape, generator=generator))
            sae.b_dec.copy_(torch.randn(sae.b_dec.shape, generator=generator))
            sae.threshold.fill_(0.4)
        return sae

    return make


@pytest.fixture
def make_batches() -> MakeBatches:
    """`batches(n)` over rows that are sums of few directions of a planted dictionary."""

    def make(
        d: int = 16, n_true: int = 32, k: int = 3, rows: int = 256, seed: int = 0, scale: float = 1.0
    ) -> Callable[[int], Iterator[torch.Tensor]]:
        directions_td = planted_directions(n_true, d, seed)

        def batches(start: int) -> Iterator[torch.Tensor]:
            step = start
            while True:
                generator = torch.Generator().manual_seed(10_000 * seed + step)
                chosen_nk = torch.randint(n_true, (rows, k), generator=generator)
                strength_nk = 0.5 + torch.rand(rows, k, generator=generator)
                yield scale * torch.einsum("nk,nkd->nd", strength_nk, directions_td[chosen_nk])
                step += 1

        return batches

    return make


def planted_directions(n_true: int, d: int, seed: int) -> torch.Tensor:
    """(n_true, d) random unit rows."""
    rows_td = torch.randn(n_true, d, generator=torch.Generator().manual_seed(seed))
    return rows_td / rows_td.norm(dim=1, keepdim=True)


@pytest.fixture
def planted() -> Callable[[int, int, int], torch.Tensor]:
    """The dictionary that `make_batches` plants."""
    return planted_directions
