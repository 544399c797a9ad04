from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steering.errors import SteeringError
from steering.interventions.deltas import DeltaRule, change_of
from steering.interventions.kinds import Ablate, Add, Clamp, Floor, Scale
from steering.interventions.positions import Places
from steering.interventions.spec import Direction, Gate, Intervention, Redirect, SteeringSpec, Tokens

CPU = torch.device("cpu")


def patches(n):
    """n tokens that are the patches of a (2, n / 2) grid."""
    zeros = np.zeros(n, dtype=np.int16)
    rows, cols = np.divmod(np.arange(n, dtype=np.int16), n // 2)
    return Places(np.zeros(n, dtype=int), np.arange(n), zeros + 2, zeros, rows, cols, np.zeros(n, dtype=bool))


def residuals(n=6, seed=0):
    return torch.randn(n, 32, generator=torch.Generator().manual_seed(seed)) * 3


def delta(sae, kind, h_nd, features=(5,), tops=(2.0,), **options):
    part = Intervention(
        kind, features, max_activations=tops, **{k: options.pop(k) for k in ("maps", "mask") & options.keys()}
    )
    tokens = Tokens(image="frontal") if part.shaped else Tokens()
    return DeltaRule(SteeringSpec("language.1", (part,), tokens, **options), sae, CPU)(h_nd, patches(len(h_nd)))


@given(st.floats(0, 10), st.floats(-10, 10), st.floats(-3, 3))
def test_change_of_activation(f, a, factor):
    acts, amounts = torch.tensor([[f]]), torch.tensor([[a]])
    f, a = float(acts), float(amounts)
    after = {
        Add(0): f + a,
        Clamp(0): a,
        Floor(0): max(a, f),
        Scale(factor): factor * f,
        Ablate(): 0,
    }
    for kind, expected in after.items():
        assert float(acts + change_of(kind, acts, amounts)) == pytest.approx(expected, abs=1e-5)


def test_the_error_term_is_kept(sae):
    h_nd = residuals()
    acts_n = sae.encode_features(h_nd, [5]).detach()
    for kind, target_n in ((Clamp(1.5), torch.full_like(acts_n, 3.0)), (Ablate(), torch.zeros_like(acts_n))):
        moved = delta(sae, kind, h_nd)
        assert torch.allclose(moved, (target_n - acts_n) * sae.W_dec[5].detach(), atol=1e-6)


def test_units(sae):
    h_nd, row_d = residuals(), sae.W_dec[5].detach()
    assert torch.allclose(delta(sae, Add(0.5), h_nd), row_d.expand(6, -1), atol=1e-6)
    assert torch.allclose(delta(sae, Add(0.5, unit="activation"), h_nd), 0.5 * row_d.expand(6, -1))
    by_norm = delta(sae, Add(-0.1, unit="residual_norm"), h_nd)
    assert torch.allclose(by_norm, -0.1 * h_nd.norm(dim=1, keepdim=True) * row_d, atol=1e-5)


def test_map_and_mask(sae):
    h_nd, row_d = residuals(), sae.W_dec[5].detach()
    grid = np.array([[0, 1, 2], [4, 0, 1.0]])
    flat = torch.tensor(grid.reshape(-1, 1)).float()
    assert torch.allclose(delta(sae, Add(3.0, shape="map"), h_nd, maps=(grid,)), 3 * flat * row_d, atol=1e-5)
    peak = delta(sae, Add(3.0, "activation", "map"), h_nd, maps=(grid,))
    assert torch.allclose(peak, 3 * flat / 4 * row_d, atol=1e-5)
    masked = delta(sae, Clamp(1.0, shape="mask"), h_nd, mask=grid / 4)
    assert torch.allclose(masked, delta(sae, Clamp(1.0), h_nd) * flat / 4, atol=1e-5)
    assert not masked[0].any()


def test_a_direction_is_its_own_unit(sae):
    vector = torch.arange(32.0)
    spec = SteeringSpec("language.1", (Intervention(Add(0.5), direction=Direction("d", tuple(vector.tolist()))),))
    moved = DeltaRule(spec, None, CPU)(residuals(), patches(6))
    assert torch.allclose(moved, 0.5 * vector.expand(6, -1), atol=1e-4)


def test_a_group_is_changed_from_the_unsteered_residual(sae):
    h_nd = residuals()
    together = delta(sae, Clamp(1.0), h_nd, (5, 9), (2.0, 3.0))
    apart = delta(sae, Clamp(1.0), h_nd) + delta(sae, Clamp(1.0), h_nd, (9,), (3.0,))
    assert torch.allclose(together, apart, atol=1e-5)


def test_gate(sae):
    h_nd = residuals(12)
    open_n = sae.encode_features(h_nd, [11])[:, 0] > 0.3
    moved = delta(sae, Add(1.0), h_nd, gate=Gate(11, 0.3))
    assert torch.equal(moved.any(dim=1), open_n)
    assert 0 < int(open_n.sum()) < 12


def test_redirect_keeps_the_length_of_every_token(sae):
    h_nd = residuals()
    true = delta(sae, Clamp(1.0), h_nd, (5, 9), (2.0, 3.0))
    aside_d = torch.randn(32, generator=torch.Generator().manual_seed(1))
    aside = delta(sae, Clamp(1.0), h_nd, (5, 9), (2.0, 3.0), redirect=Redirect("random", tuple(aside_d.tolist())))
    back = delta(sae, Clamp(1.0), h_nd, (5, 9), (2.0, 3.0), redirect=Redirect("wrong sign"))
    assert torch.equal(back, -true)
    assert torch.allclose(aside.norm(dim=1), true.norm(dim=1), rtol=1e-4)
    assert torch.allclose(torch.nn.functional.cosine_similarity(aside, aside_d[None]), torch.ones(6), atol=1e-5)


@pytest.mark.parametrize("kind", [Add(0.0), Scale(1.0)])
def test_no_change_is_exactly_zero(sae, kind):
    assert not delta(sae, kind, residuals()).any()


def test_features_without_autoencoder():
    spec = SteeringSpec("language.1", (Intervention(Ablate(), (5,)),))
    with pytest.raises(SteeringError, match="autoencoder"):
        DeltaRule(spec, None, CPU)
