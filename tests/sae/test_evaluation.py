from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from sae.errors import SAEError
from sae.evaluation import reconstruction
from sae.model import MatryoshkaSAE

MakeSAE = Callable[..., MatryoshkaSAE]


def rows(n: int) -> torch.Tensor:
    return 2 * torch.randn(n, 12, generator=torch.Generator().manual_seed(9)) + 5


def test_the_figures_are_those_of_the_whole_matrix(make_sae: MakeSAE) -> None:
    sae, x_nd = make_sae(), rows(60)
    result = reconstruction(sae, x_nd.split(17))
    acts_nf = sae.encode_dense(x_nd).detach().double()
    spread = float((x_nd.double() - x_nd.double().mean(0)).square().sum())
    for group in range(3):
        width = sae.prefix_width(group + 1)
        recon_nd = (acts_nf[:, :width] @ sae.W_dec[:width].double() + sae.b_dec.double()).detach()
        expected = 1 - float((x_nd - recon_nd).square().sum()) / spread
        assert result["variance_explained_by_group"][group] == pytest.approx(expected, rel=1e-4)
    assert result["variance_explained"] == result["variance_explained_by_group"][-1]
    assert result["tokens"] == 60
    assert result["l0"] == pytest.approx(float((acts_nf > 0).sum(1).double().mean()))
    rate_f = (acts_nf > 0).double().mean(0)
    assert result["dead_share"] == pytest.approx(float((rate_f == 0).double().mean()))
    assert result["dense_share"] == pytest.approx(float((rate_f > 0.1).double().mean()))


def test_how_the_rows_are_batched_does_not_matter(make_sae: MakeSAE) -> None:
    sae, x_nd = make_sae(), rows(40)
    one, other = reconstruction(sae, [x_nd]), reconstruction(sae, x_nd.split(7))
    assert one["variance_explained"] == pytest.approx(other["variance_explained"], rel=1e-5)
    assert one["l0"] == other["l0"]


def test_equal_rows_have_no_variance_to_explain(make_sae: MakeSAE) -> None:
    assert math.isnan(reconstruction(make_sae(), [torch.zeros(4, 12)])["variance_explained"])


def test_nothing_and_nan_are_errors(make_sae: MakeSAE) -> None:
    with pytest.raises(SAEError, match="no tokens"):
        reconstruction(make_sae(), [])
    with pytest.raises(SAEError, match="after 3 tokens holds NaN"):
        reconstruction(make_sae(), [torch.ones(3, 12), torch.full((1, 12), float("nan"))])
