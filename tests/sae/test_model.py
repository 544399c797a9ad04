from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sae import model as model_module
from sae.codes import SparseCodes
from sae.errors import SAEError
from sae.model import MatryoshkaSAE

MakeSAE = Callable[..., MatryoshkaSAE]


def rows(n: int, d: int, seed: int = 5) -> torch.Tensor:
    return 2 * torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def formula(sae: MatryoshkaSAE, x_nd: torch.Tensor) -> torch.Tensor:
    """Activations in float64, written out."""
    pre_nf = (x_nd.double() - sae.b_dec.double()) @ sae.W_enc.double().T + sae.b_enc.double()
    return (pre_nf * (pre_nf > sae.threshold.double())).detach()


def test_encoding_follows_the_formula(make_sae: MakeSAE) -> None:
    sae, x_nd = make_sae(), rows(40, 12)
    dense_nf = sae.encode(x_nd).dense()
    torch.testing.assert_close(dense_nf.double(), formula(sae, x_nd), atol=1e-5, rtol=1e-5)
    assert 0 < int((dense_nf > 0).sum()) < dense_nf.numel() / 2


def test_sparse_and_dense_ways_agree(make_sae: MakeSAE) -> None:
    sae, x_nd = make_sae(), rows(40, 12)
    codes = sae.encode(x_nd)
    assert torch.equal(codes.dense(), sae.encode_dense(x_nd))
    for groups in (None, 1, 2, 3):
        sparse_nd, dense_nd = sae.decode(codes, groups), sae.decode_dense(codes.dense(), groups)
        torch.testing.assert_close(sparse_nd, dense_nd, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sae(x_nd), sae.decode(codes), atol=1e-5, rtol=1e-5)


def test_encoding_by_chunks_of_rows_changes_nothing(make_sae: MakeSAE, monkeypatch: pytest.MonkeyPatch) -> None:
    sae, x_nd = make_sae(), rows(41, 12)
    whole_nf = sae.encode(x_nd).dense()
    monkeypatch.setattr(model_module, "_CHUNK_ENTRIES", 4 * sae.n_features)
    torch.testing.assert_close(sae.encode(x_nd).dense(), whole_nf, atol=1e-6, rtol=1e-6)


def test_the_threshold_is_strict(make_sae: MakeSAE) -> None:
    sae, x_nd = make_sae(), rows(4, 12)
    pre_nf = sae.pre_activations(x_nd)
    highest = pre_nf.max().detach()
    sae.threshold.copy_(highest)
    assert len(sae.encode(x_nd).values) == 0
    sae.threshold.copy_(torch.nextafter(highest, torch.tensor(0.0)))
    assert len(sae.encode(x_nd).values) == 1


def test_some_features_encode_as_all_do(make_sae: MakeSAE) -> None:
    sae = make_sae()
    x = rows(10, 12).reshape(2, 5, 12)
    ids = [3, 40, 3, 0]
    torch.testing.assert_close(sae.encode_features(x, ids), sae.encode_dense(x)[..., ids], atol=1e-6, rtol=1e-5)
    assert sae.encode_features(x, []).shape == (2, 5, 0)
    sae.threshold = torch.linspace(0, 1, sae.n_features)
    torch.testing.assert_close(sae.encode_features(x, ids), sae.encode_dense(x)[..., ids], atol=1e-6, rtol=1e-5)


def test_each_prefix_uses_its_groups_only(make_sae: MakeSAE) -> None:
    sae = make_sae(groups=(8, 16, 24))
    acts_nf = torch.zeros(1, 48)
    acts_nf[0, 8] = 3.0
    codes = SparseCodes.from_dense(acts_nf)
    torch.testing.assert_close(sae.decode(codes, 1)[0], sae.b_dec)
    torch.testing.assert_close(sae.decode(codes, 2)[0], sae.b_dec + 3 * sae.feature_direction(8))
    assert [sae.group_of(f) for f in (0, 7, 8, 23, 24, 47)] == [0, 0, 1, 1, 2, 2]


def test_directions_are_unit_rows_and_copies(make_sae: MakeSAE) -> None:
    sae = make_sae()
    direction_d = sae.feature_direction(5)
    assert float(direction_d.norm()) == pytest.approx(1, abs=1e-6)
    direction_d.zero_()
    assert float(sae.feature_direction(5).norm()) == pytest.approx(1, abs=1e-6)


def test_no_rows_and_no_active_features_are_fine(make_sae: MakeSAE) -> None:
    sae = make_sae()
    assert sae.decode(sae.encode(torch.zeros(0, 12))).shape == (0, 12)
    sae.threshold.fill_(1e6)
    x_nd = rows(3, 12)
    torch.testing.assert_close(sae.decode(sae.encode(x_nd)), sae.b_dec.expand(3, 12))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_weights_encode_and_decode(make_sae: MakeSAE, dtype: str) -> None:
    sae, x_nd = make_sae(dtype=dtype), rows(20, 12)
    codes = sae.encode(x_nd)
    torch.testing.assert_close(codes.dense().double(), formula(sae, x_nd), atol=0.5, rtol=0.05)
    torch.testing.assert_close(sae.decode(codes), sae.decode_dense(codes.dense()), atol=0.1, rtol=0.05)


def test_gradients_flow_through_the_dense_way(make_sae: MakeSAE) -> None:
    sae, x_nd = make_sae(), rows(4, 12).requires_grad_()
    sae(x_nd).square().sum().backward()
    assert x_nd.grad is not None
    assert float(x_nd.grad.abs().sum()) > 0


def test_wrong_widths_and_numbers_are_refused(make_sae: MakeSAE) -> None:
    sae = make_sae()
    for call in (sae.encode, sae.encode_dense, lambda x: sae.encode_features(x, [0])):
        with pytest.raises(SAEError, match=r"shape \(3, 11\).*must be 12"):
            call(torch.zeros(3, 11))
    with pytest.raises(SAEError, match=r"0\.\.47"):
        sae.encode_features(torch.zeros(1, 12), [48])
    with pytest.raises(SAEError, match="feature 48"):
        sae.feature_direction(48)
    with pytest.raises(SAEError, match="feature -1"):
        sae.group_of(-1)
    with pytest.raises(SAEError, match="groups = 4"):
        sae.prefix_width(4)
    with pytest.raises(SAEError, match="47 features"):
        sae.decode(SparseCodes.from_dense(torch.zeros(1, 47)))
