"""The map of features: laid out once, kept apart from the run, and honest about how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dashboards.app import feature_map
from dashboards.app.view import RunView
from radiology.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "interp" / "dashboard"


def test_the_layout_is_kept_in_the_cache_and_the_run_is_not_written(view: RunView, cache: Path) -> None:
    before = sorted(view.data.run_dir.rglob("*"))
    first = feature_map.map_content(view)
    assert first["feature"] == list(range(11)), "the dead feature has no place"
    assert len(first["x"]) == len(first["label"]) == 11
    assert max(map(abs, [*first["x"], *first["y"]])) == pytest.approx(1)
    kept = list(cache.glob("map-*.npz"))
    assert len(kept) == 1
    assert feature_map.map_content(view) == first
    kept[0].write_bytes(b"damaged")
    assert feature_map.map_content(view) == first
    assert sorted(view.data.run_dir.rglob("*")) == before


def test_near_directions_lie_near() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 32))
    group_n = np.repeat(np.arange(4), 40)
    rows_nd = centres[group_n] + 0.2 * rng.normal(size=(160, 32))
    xy_n2, method = feature_map.lay_out(rows_nd / np.linalg.norm(rows_nd, axis=1, keepdims=True))
    assert method in ("t-SNE", "UMAP")
    distance_nn = np.linalg.norm(xy_n2[:, None] - xy_n2[None], axis=2)
    np.fill_diagonal(distance_nn, np.inf)
    assert (group_n[distance_nn.argmin(axis=1)] == group_n).mean() > 0.95


def test_many_features_are_laid_out_by_components_and_few_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_map, "MOST_FOR_TSNE", 10)
    rows_nd = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    assert feature_map.lay_out(rows_nd)[1] in ("principal components", "UMAP")
    assert feature_map.lay_out(rows_nd[:3])[1] == "order"


def test_weights_that_cannot_be_read_are_a_message(fresh_run: Path) -> None:
    bare = RunView(fresh_run, "main", False)  # its weights are an empty file
    with pytest.raises(InputError, match="cannot be read"):
        feature_map.map_content(bare)
    (fresh_run / "sae" / "main" / "sae.safetensors").unlink()
    with pytest.raises(InputError, match="train-sae"):
        feature_map.map_content(bare)
