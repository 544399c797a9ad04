"""Streamed statistics equal those of the dense matrix, wherever the stream was cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from activations.roles import IMAGE_NAMES, Role
from autointerp.files import features_folder, read_frame
from autointerp.firing import Firing
from autointerp.schema import ROLE_NAMES
from autointerp.stats import FeatureStats
from autointerp.units import TEXT_ROLES
from sae.codes import SparseCodes


@pytest.fixture(scope="module")
def dense(hand_run) -> np.ndarray:
    """(rows, F) activations of the whole hand-built store."""
    acts_nd = hand_run.store.read("language.0", slice(None))
    return hand_run.sae.encode_dense(torch.from_numpy(acts_nd)).detach().numpy()


@pytest.fixture(scope="module")
def table(hand_run):
    return read_frame(features_folder(hand_run.run_dir, "main") / "features.parquet").set_index("feature")


def test_counts_and_means(hand_run, dense: np.ndarray, table) -> None:
    fires = dense > 0
    assert table["n_fires"].tolist() == fires.sum(axis=0).tolist()
    np.testing.assert_allclose(table["firing_rate"], fires.mean(axis=0))
    np.testing.assert_allclose(table["max_activation"], dense.max(axis=0))
    means = dense.sum(axis=0, dtype=np.float64) / np.maximum(fires.sum(axis=0), 1)
    np.testing.assert_allclose(table["mean_activation"], means, rtol=1e-6)
    study = hand_run.store.column("study")
    assert table["n_studies"].tolist() == [len(set(study[f])) for f in fires.T]
    assert table["n_patients"].tolist() == [len(set(study[f] // 2)) for f in fires.T]
    assert (table["dead"] == (fires.sum(axis=0) == 0)).all()
    assert (table["dense"] == (fires.mean(axis=0) > 0.1)).all()


def test_histograms_count_every_firing_token_in_its_bin(dense: np.ndarray, table) -> None:
    for feature, row in table.iterrows():
        counts, edges = row["histogram"], row["histogram_edges"]
        values = dense[:, feature][dense[:, feature] > 0]
        assert len(edges) == (len(counts) + 1 if len(counts) else 0)
        if len(counts):
            assert counts.tolist() == np.histogram(values, edges)[0].tolist()
        assert sum(counts) == len(values)


def test_role_shares(hand_run, dense: np.ndarray, table) -> None:
    role = hand_run.store.column("role")
    for feature, row in table.iterrows():
        fires = dense[:, feature] > 0
        expected = [float((role[fires] == r).mean()) if fires.any() else 0.0 for r in range(len(ROLE_NAMES))]
        np.testing.assert_allclose([row["role_shares"][name] for name in ROLE_NAMES], expected, atol=1e-6)
        assert row["image_share"] == pytest.approx(expected[Role.IMAGE], abs=1e-6)
        assert row["text_share"] == pytest.approx(sum(expected[role] for role in TEXT_ROLES), abs=1e-6)


def test_mean_map_averages_over_the_studies_in_which_it_fires(hand_run, dense: np.ndarray, table) -> None:
    store = hand_run.store
    frontal = store.column("image") == IMAGE_NAMES.index("frontal")
    maps_sfp = dense[frontal].reshape(-1, 16, dense.shape[1]).transpose(0, 2, 1)
    for feature, row in table.iterrows():
        maps = maps_sfp[:, feature]
        firing = maps[maps.max(axis=1) > 0]
        expected = firing.mean(axis=0) if len(firing) else np.zeros(16)
        np.testing.assert_allclose(row["mean_map"], expected, rtol=1e-5, atol=1e-6)


def test_without_a_grid_there_are_no_maps() -> None:
    stats = FeatureStats(2, 3, np.zeros(1, dtype=int), None)
    tokens = {name: np.zeros(1, dtype=int) for name in ("study", "role", "image", "row", "col")}
    codes = SparseCodes.from_dense(torch.tensor([[0.0, 2.0]]))
    stats.add(tokens, np.zeros((1, 3), dtype=np.float32), Firing.of(codes))
    columns = stats.columns()
    assert columns["n_fires"].tolist() == [0, 1]
    assert columns["mean_map"] == [None, None]
    assert columns["map_rows"].tolist() == [0, 0]
