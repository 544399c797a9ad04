from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sae.errors import SAEError
from sae.evaluation import reconstruction
from sae.model import MatryoshkaSAE
from sae.reconstruction import ReconstructionMeter

MakeSAE = Callable[..., MatryoshkaSAE]
N, UNITS = 120, 12


def rows(n: int = N) -> torch.Tensor:
    return 2 * torch.randn(n, 12, generator=torch.Generator().manual_seed(9)) + 5


def meter_of(sae: MatryoshkaSAE, x_nd: torch.Tensor, units_n: np.ndarray, kinds_n: np.ndarray) -> ReconstructionMeter:
    meter = ReconstructionMeter(sae, UNITS, ("image", "text"))
    for part in np.array_split(np.arange(len(x_nd)), 5):
        meter.add(x_nd[part], units_n[part], kinds_n[part])
    return meter


def test_a_kind_has_the_figures_of_its_rows_alone(make_sae: MakeSAE) -> None:
    sae, x_nd = make_sae(), rows()
    units_n, kinds_n = np.arange(N) % UNITS, np.arange(N) % 3 // 2
    found = meter_of(sae, x_nd, units_n, kinds_n).figures()
    whole = reconstruction(sae, [x_nd])
    for number, kind in enumerate(("image", "text")):
        alone = reconstruction(sae, [x_nd[kinds_n == number]])
        for name, value in alone.items():
            assert found["by_kind"][kind][name] == pytest.approx(value, rel=1e-5)
    for name, value in whole.items():
        assert found[name] == pytest.approx(value, rel=1e-5)
    assert found["units"] == UNITS


def test_a_prefix_has_the_figures_of_its_features(make_sae: MakeSAE) -> None:
    sae, x_nd = make_sae(), rows()
    found = meter_of(sae, x_nd, np.arange(N) % UNITS, np.zeros(N, dtype=int)).figures()
    fires_nf = (sae.encode_dense(x_nd) > 0).detach().numpy()
    for prefix, width in zip(found["by_prefix"], (8, 24, 48), strict=True):
        assert prefix["features"] == width
        assert prefix["l0"] == pytest.approx(fires_nf[:, :width].sum(1).mean())
        assert prefix["dead_share"] == pytest.approx((fires_nf.sum(0) == 0)[:width].mean())
        assert prefix["dense_share"] == pytest.approx((fires_nf.mean(0) > 0.1)[:width].mean())
    assert [one["variance_explained"] for one in found["by_prefix"]] == found["variance_explained_by_group"]


def test_intervals_hold_the_figures_and_copies_of_a_unit_do_not_narrow_them(make_sae: MakeSAE) -> None:
    sae, x_nd = make_sae(), rows()
    units_n, one_kind = np.arange(N) % UNITS, np.zeros(N, dtype=int)
    once = meter_of(sae, x_nd, units_n, one_kind).figures()
    for name in ("variance_explained", "l0"):
        assert once[f"{name}_low"] < once[name] < once[f"{name}_high"]
    again = meter_of(sae, x_nd.repeat(8, 1), np.tile(units_n, 8), np.tile(one_kind, 8)).figures()
    for end in ("variance_explained_low", "variance_explained_high", "l0_low", "l0_high"):
        assert again[end] == pytest.approx(once[end], rel=1e-4)


def test_fewer_units_leave_more_features_dead(make_sae: MakeSAE) -> None:
    sae = make_sae()
    sae.threshold.fill_(6.0)
    found = meter_of(sae, rows(), np.arange(N) % UNITS, np.zeros(N, dtype=int)).figures()
    assert found["dead_share_on_half"] > found["dead_share"]


def test_the_mean_and_the_live_features_are_those_of_the_rows(make_sae: MakeSAE) -> None:
    sae, x_nd = make_sae(), rows()
    meter = meter_of(sae, x_nd, np.arange(N) % UNITS, np.arange(N) % 2)
    np.testing.assert_allclose(meter.mean_d, x_nd.double().mean(0).numpy(), rtol=1e-5)
    assert meter.live.tolist() == (sae.encode_dense(x_nd) > 0).any(0).tolist()


def test_a_meter_without_rows_says_so(make_sae: MakeSAE) -> None:
    with pytest.raises(SAEError, match="no tokens"):
        ReconstructionMeter(make_sae(), 2, ("image",)).figures()
