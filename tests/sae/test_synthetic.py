from __future__ import annotations

import pytest
import torch

from sae.config import SAEConfig
from sae.errors import SAEError
from sae.model import MatryoshkaSAE
from sae.synthetic import SyntheticConfig, SyntheticDictionary, recovery

SMALL = SyntheticConfig(d=128, n_parents=8, n_free=32, cluster=4, mean_active=2.0, noise=0.0)


@pytest.fixture(scope="module")
def world() -> SyntheticDictionary:
    return SyntheticDictionary(SMALL, seed=0)


def planted_sae(world: SyntheticDictionary) -> MatryoshkaSAE:
    """An autoencoder that knows the directions; its encoder undoes their overlap."""
    n = world.n_features
    sae = MatryoshkaSAE(SAEConfig(d=world.config.d, n_features=n, k=4))
    with torch.no_grad():
        sae.W_dec.copy_(world.directions_td)
        sae.W_enc.copy_(torch.linalg.pinv(world.directions_td.double()).T.float())
        sae.b_dec.copy_(world.centre_d)
        sae.threshold.fill_(0.1)
    return sae


def test_there_are_2048_features_by_default() -> None:
    assert SyntheticDictionary(seed=0).directions_td.shape == (2048, 256)


def test_tokens_are_the_sum_of_what_made_them(world: SyntheticDictionary) -> None:
    x_nd, codes = world.draw(50, seed=1)
    expected_nd = codes.dense() @ world.directions_td + world.centre_d
    torch.testing.assert_close(x_nd, expected_nd, atol=1e-5, rtol=1e-5)
    assert torch.equal(world.draw(50, seed=1)[0], x_nd)
    assert not torch.equal(world.draw(50, seed=2)[0], x_nd)


def test_features_fire_as_often_as_they_say(world: SyntheticDictionary) -> None:
    _, codes = world.draw(40_000, seed=3)
    rate_t = codes.counts() / len(codes)
    torch.testing.assert_close(rate_t, world.probability_t, atol=0.012, rtol=0)


def test_a_child_never_fires_without_its_parent_nor_with_its_sibling(world: SyntheticDictionary) -> None:
    fires_nt = world.draw(20_000, seed=4)[1].dense() > 0
    children = torch.nonzero(world.parent_t >= 0).squeeze(1)
    assert not (fires_nt[:, children] & ~fires_nt[:, world.parent_t[children]]).any()
    for parent in range(SMALL.n_parents):
        own = children[world.parent_t[children] == parent]
        assert len(own) == 3
        assert int(fires_nt[:, own].sum(1).max()) == 1


def test_members_of_a_cluster_fire_together(world: SyntheticDictionary) -> None:
    fires_nt = (world.draw(40_000, seed=5)[1].dense() > 0).float()
    free_nf = fires_nt[:, -SMALL.n_free :]
    together_ff = torch.corrcoef(free_nf.T)
    cluster_f = torch.arange(SMALL.n_free) // SMALL.cluster
    same_ff = cluster_f[:, None] == cluster_f
    inside = together_ff[same_ff & ~torch.eye(SMALL.n_free, dtype=torch.bool)]
    assert inside.mean() > 0.1 > 0.02 > together_ff[~same_ff].mean().abs()


def test_the_planted_dictionary_is_recovered_whole(world: SyntheticDictionary) -> None:
    x_nd, truth = world.draw(4000, seed=6)
    found = recovery(planted_sae(world), world, x_nd, truth)
    assert found.mcc == pytest.approx(1, abs=1e-5)
    assert (found.f1, found.parents_found, found.absorption) == pytest.approx((1, 1, 0), abs=1e-3)
    assert found.variance_explained == pytest.approx(1, abs=1e-3)
    assert found.l0 == pytest.approx(truth.l0, rel=0.01)


def test_a_random_dictionary_recovers_little(world: SyntheticDictionary) -> None:
    x_nd, truth = world.draw(2000, seed=6)
    sae = planted_sae(world)
    sae.initialise(1)
    found = recovery(sae, world, x_nd, truth)
    assert found.mcc < 0.4
    assert found.f1 < 0.4
    assert found.parents_found == 0


def test_a_planted_absorption_is_found(world: SyntheticDictionary) -> None:
    """The commonest child of every parent also writes the parent's direction, and silences the parent's feature."""
    x_nd, truth = world.draw(4000, seed=7)
    sae, first = planted_sae(world), torch.arange(SMALL.n_parents) * 3 + SMALL.n_parents
    with torch.no_grad():
        sae.W_dec[first] += world.directions_td[world.parent_t[first]]
        sae.W_enc[: SMALL.n_parents] -= 2 * sae.W_enc[first]
    found = recovery(sae, world, x_nd, truth)
    assert found.absorption == pytest.approx(0.5, abs=0.1)  # the first child is half of all children


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(SAEError, match="multiple of cluster"):
        SyntheticConfig(n_free=10, cluster=4)
    with pytest.raises(SAEError, match="between 0 and 1"):
        SyntheticConfig(correlation=1.0)
    with pytest.raises(SAEError, match="positive"):
        SyntheticConfig(d=0)
