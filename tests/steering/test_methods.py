"""Ways of steering: what a spec adds to each patch is what its name says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from activations import ActivationStore
from activations.manifest import StoreConfig
from activations.roles import Role, TokenTable
from activations.writer import StoreWriter, StudyRows
from steering import SteeringError, steer
from steering.experiments.design import at_strength
from steering.methods.cleaned import disturbed, push_pd, without
from steering.methods.contrast import Contrast, contrasts
from steering.methods.features import FRONTAL, ablated, in_maps, raised_to_maps, reversed_where_active, uniform
from steering.methods.fields import (
    counterfactual_field,
    field_spec,
    kept_share,
    mean_direction,
    mean_field,
    over_sites,
)
from steering.tracing.patching import record, residual

GRID = (2, 3)
SITE = "language.1"


@pytest.fixture
def contrast(sae) -> Contrast:
    """Feature 2 fires at patch 1 where the finding is, feature 5 everywhere in every study, feature 7 nowhere."""
    with_pf, without_pf = np.zeros((6, sae.n_features)), np.zeros((6, sae.n_features))
    with_pf[1, 2] = 3.0
    with_pf[:, 5] = without_pf[:, 5] = 4.0
    auroc_f, share_f = np.full(sae.n_features, 0.5), np.zeros(sae.n_features)
    auroc_f[2], share_f[[2, 5]] = 1.0, 1.0
    residual_pd = np.random.default_rng(0).standard_normal((2, 6, sae.config.d))
    return Contrast("cardiomegaly", GRID, with_pf, without_pf, *residual_pd, auroc_f, share_f, 9, 9)


def test_carriers_are_what_the_finding_adds(contrast):
    assert contrast.carriers(4) == (2,)
    assert contrast.own_map(5).min() == 4.0
    assert not contrast.difference_map(5).any()


def test_a_finding_that_no_feature_carries_is_an_error(contrast):
    silent = Contrast(**{**vars(contrast), "auroc_f": np.full(len(contrast.auroc_f), 0.5)})
    with pytest.raises(SteeringError, match="no feature is more active"):
        silent.carriers(3)


def change(model, sae, spec, inputs) -> torch.Tensor:
    """What a spec adds to each patch of the frontal image at the site, (studies, P, d)."""
    _, clean = record(model, [SITE], inputs)
    with steer(model, sae, spec):
        _, steered = record(model, [SITE], inputs)
    delta_btd = residual(steered[SITE]) - residual(clean[SITE])
    rows = []
    for i, (table, pad) in enumerate(zip(inputs.tokens, inputs.padding, strict=True)):
        frontal = np.flatnonzero((table.role == Role.IMAGE) & (table.image == 0)) + pad
        rows.append(delta_btd[i, frontal])
        outside = torch.ones(delta_btd.shape[1], dtype=torch.bool)
        outside[frontal] = False
        assert not delta_btd[i, outside].any()
    return torch.stack(rows)


@pytest.mark.parametrize(("goal", "sign"), [("present", 1.0), ("absent", -1.0)])
def test_a_field_is_added_patch_by_patch(model, sae, studies, goal, sign):
    field_pd = np.random.default_rng(1).standard_normal((6, sae.config.d))
    spec = at_strength(field_spec(SITE, field_pd, GRID, goal, name="f"), 0.5)
    found = change(model, None, spec, model.encode_batch(studies))
    expected = torch.from_numpy(0.5 * sign * field_pd).float().expand(found.shape)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_field_cut_to_its_leading_parts_keeps_the_share_that_is_told(model, sae, studies):
    field_pd = np.random.default_rng(1).standard_normal((6, sae.config.d))
    spec = field_spec(SITE, field_pd, GRID, "present", name="f", rank=2)
    found = change(model, None, spec, model.encode_batch(studies))
    share = float((found[0].double() ** 2).sum() / (field_pd**2).sum())
    assert share == pytest.approx(kept_share(field_pd, 2), abs=1e-4)
    assert share < 0.95


def test_maps_push_each_feature_where_it_fires(model, sae, studies, contrast):
    found = change(model, sae, in_maps(SITE, (2,), contrast.own_map, "present"), model.encode_batch(studies))
    expected = torch.zeros_like(found)
    expected[:, 1] = 3.0 * sae.W_dec[2].detach() / sae.W_dec[2].norm()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(SteeringError, match="none has a map"):
        in_maps(SITE, (7,), contrast.own_map, "present")


def test_raising_never_lowers_and_reversing_needs_activity(model, sae, studies, contrast):
    inputs = model.encode_batch(studies)
    rows_d = sae.W_dec[2].detach()
    raised = change(model, sae, raised_to_maps(SITE, (2,), contrast.own_map), inputs)
    assert ((raised @ rows_d) >= -1e-4).all()
    reversed_ = change(model, sae, reversed_where_active(SITE, tuple(range(sae.n_features)), -1.0), inputs)
    gone = change(model, sae, ablated(SITE, tuple(range(sae.n_features))), inputs)
    torch.testing.assert_close(reversed_, 2 * gone, atol=1e-3, rtol=1e-3)


def test_uniform_reaches_all_tokens(model, sae, studies):
    with steer(model, sae, uniform(SITE, (2,), (1.5,), "present")) as applied:
        model.generate(model.encode_batch(studies))
    assert {"image", "template", "report"} <= set(applied.proof.tokens)


def test_mean_direction_is_the_mean_of_the_field(model, sae, studies, contrast):
    spec = mean_direction(SITE, contrast.field_pd, "present", name="m", tokens=FRONTAL)
    found = change(model, None, spec, model.encode_batch(studies))
    expected = torch.from_numpy(contrast.field_pd.mean(axis=0)).float().expand(found.shape)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_counterfactual_field_is_the_mean_difference_of_pairs(model, studies):
    pairs = [(studies[0], studies[1]), (studies[1], studies[2])]
    difference = counterfactual_field(model, SITE, pairs)
    expected = mean_field(model, SITE, [studies[1], studies[2]]) - mean_field(model, SITE, [studies[0], studies[1]])
    np.testing.assert_allclose(difference, expected, atol=1e-6)


def test_specs_over_sites_change_both(model, sae, studies):
    field_pd = np.ones((6, sae.config.d))
    both = over_sites([field_spec(s, field_pd, GRID, "present", name=s) for s in ("language.0", SITE)])
    with steer(model, None, both) as applied:
        model.forward(model.encode_batch(studies))
    assert set(both.by_site) == {"language.0", SITE}
    assert applied.proof.total


def test_cleaning_removes_what_is_disturbed(sae):
    rng = np.random.default_rng(3)
    push = push_pd(sae, (0, 1), rng.random((6, 2)) * 5)
    x_nd, patch_n = rng.standard_normal((40, sae.config.d)).astype(np.float32), rng.integers(6, size=40)
    moved = disturbed(sae, push, (0, 1), x_nd, patch_n, 3)
    assert moved
    assert not {0, 1} & set(moved)
    rows_md = sae.W_dec[list(moved)].detach().numpy()
    cleaned = without(push, rows_md)
    np.testing.assert_allclose(cleaned @ rows_md.T, 0, atol=1e-4)
    assert np.linalg.norm(cleaned) < np.linalg.norm(push)
    np.testing.assert_array_equal(without(push, np.zeros((0, sae.config.d))), push)


def test_contrasts_of_a_store(tmp_path, sae):
    rng = np.random.default_rng(5)
    roles = (Role.IMAGE, Role.REPORT)
    config = StoreConfig("none", "f", {SITE: sae.config.d}, "float32", roles, grid=GRID)
    acts, labels = [], np.array([[1.0], [0.0], [1.0], [0.0], [np.nan], [1.0]])
    with StoreWriter(tmp_path / "activations", config) as writer:
        for number in range(6):
            table = TokenTable.concatenate(
                [TokenTable.patches(3, "frontal", *GRID), TokenTable.patches(3, "lateral", *GRID)]
            )
            x_nd = rng.standard_normal((12, sae.config.d)).astype(np.float32)
            acts.append(x_nd[:6])
            record = {"study": number, "study_id": f"s{number}", "patient_id": f"p{number}"}
            record |= {"terms": "phantom", "split": "train", "rows": 12}
            writer.add([StudyRows(record, table, np.arange(12), {SITE: torch.from_numpy(x_nd)})])
        writer.finish()
    use_s = np.array([True] * 5 + [False])
    with ActivationStore(tmp_path / "activations") as store:
        found = contrasts(store, SITE, sae, ["a"], labels, use_s, GRID)["a"]
        with pytest.raises(SteeringError, match="1 studies with"):
            contrasts(store, SITE, sae, ["a"], labels, np.arange(6) < 2, GRID)
    assert (found.n_with, found.n_without) == (2, 2)
    np.testing.assert_allclose(found.residual_with_pd, (acts[0] + acts[2]) / 2, atol=1e-5)
    dense = [sae.encode(torch.from_numpy(x)).dense().detach().numpy() for x in acts]
    np.testing.assert_allclose(found.features_without_pf, (dense[1] + dense[3]) / 2, atol=1e-5)
