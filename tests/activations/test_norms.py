"""Norms by role: quantiles are exact however a store is cut, and outliers are reported with where they sit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from activations.manifest import StoreConfig
from activations.norms import QUANTILES, _quantiles, limit_of, norm_table, outlier_limit, outlier_places
from activations.report import describe
from activations.roles import Role, TokenTable
from activations.store import ActivationStore
from activations.writer import StoreWriter, StudyRows

WIDTHS = {"language.0": 8, "language.1": 4}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 2, 7]), st.floats(0, 2.0**99, width=32)), min_size=1, max_size=60),
    st.integers(1, 5),
)
def test_quantiles_are_those_of_numpy_however_the_rows_are_cut(rows: list[tuple[int, float]], pieces: int) -> None:
    roles, norms = np.array([role for role, _ in rows], np.uint8), np.array([norm for _, norm in rows], np.float32)
    counts = np.bincount(roles, minlength=max(Role) + 1)
    cut = [
        [part, part_roles]
        for part, part_roles in zip(np.array_split(norms, pieces), np.array_split(roles, pieces), strict=True)
    ]
    found = _quantiles(lambda: iter(cut), counts)
    assert set(found) == set(roles.tolist())
    for role, of in found.items():
        expected = np.quantile(norms[roles == role].astype(np.float64), list(QUANTILES.values()))
        np.testing.assert_allclose(list(of.values()), expected, rtol=1e-12)


def test_the_table_is_that_of_all_rows_at_once(store_path: Path) -> None:
    with ActivationStore(store_path) as store:
        assert len(store.manifest.shards) > 3
        table, norms, roles = norm_table(store, "language.1", 1.5), store.norms("language.1"), store.column("role")
        assert table["rows"].sum() == store.rows
        for name, row in table.iterrows():
            of_role = norms[roles == Role[str(name).upper()]].astype(np.float64)
            assert row["mean"] == pytest.approx(of_role.mean())
            assert row["rms"] == pytest.approx(np.sqrt((of_role**2).mean()))
            np.testing.assert_allclose(row[list(QUANTILES)], np.quantile(of_role, list(QUANTILES.values())))
            assert row["outliers"] == (of_role > 1.5 * np.median(of_role)).sum()
            assert row["outlier_share"] == row["outliers"] / len(of_role)


@pytest.fixture(scope="module")
def with_sinks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight studies of 2 special and 9 image tokens; position 0 and the patch (1, 2) of the lateral are sinks."""
    directory = tmp_path_factory.mktemp("sinks") / "activations"
    config = StoreConfig("none", "fingerprint", WIDTHS, "float32", (Role.SPECIAL, Role.IMAGE))
    roles = np.array([0, 0] + [2] * 9, np.uint8)
    place = np.arange(9)
    row, col = (np.concatenate([[-1, -1], values]).astype(np.int16) for values in (place // 3, place % 3))
    image = np.where(roles == 2, 1, -1).astype(np.int8)
    with StoreWriter(directory, config, shard_rows=30) as writer:
        for number in range(8):
            rng = np.random.default_rng(number)
            rows: dict[str, Any] = {}
            for site, width in WIDTHS.items():
                unit_nd = rng.standard_normal((11, width)).astype(np.float32)
                unit_nd /= np.linalg.norm(unit_nd, axis=1, keepdims=True)
                unit_nd[[0, 2 + 5]] *= 300 if site == "language.1" else 1
                rows[site] = torch.from_numpy(unit_nd)
            tokens = TokenTable(np.where(roles == 0, 1, 99).astype(np.int32), roles, image, row, col)
            record = {"study": number, "study_id": f"s{number}", "patient_id": "p", "terms": "own", "split": "train"}
            writer.add([StudyRows({**record, "rows": 11}, tokens, np.arange(11), rows)])
        writer.finish()
    return directory


def test_attention_sinks_are_told_with_their_places_and_the_limit_leaves_them_out(with_sinks: Path) -> None:
    with ActivationStore(with_sinks) as store:
        table = norm_table(store, "language.1")
        assert table.loc["image", "outliers"] == 8
        places = outlier_places(store, "language.1", table)
        assert places["special"]["rows"] == places["image"]["rows"] == 8
        assert places["special"]["position"] == [{"at": 0, "rows": 8}]
        assert places["special"]["token_id"] == [{"at": 1, "rows": 8}]
        assert places["special"]["patch"] == []
        assert places["image"]["position"] == [{"at": 7, "rows": 8}]
        assert places["image"]["patch"] == [{"at": {"image": "lateral", "row": 1, "col": 2}, "rows": 8}]
        assert outlier_places(store, "language.0", norm_table(store, "language.0")) == {}
        limit = outlier_limit(store, "language.1")
        assert limit == limit_of(table) == pytest.approx(10)
        kept = store.select(max_norm=limit, site="language.1")
        assert set(store.column("position")[~kept].tolist()) == {0, 7}
        assert kept.sum() == store.rows - 16


def test_the_report_has_a_site_with_outliers_and_one_without(with_sinks: Path) -> None:
    quiet, loud = describe(with_sinks, batch_size=16)["sites"]
    assert quiet["outliers"] == {}
    assert loud["outliers"]["image"]["rows"] == 8
    assert loud["norms"]["image"]["p99"] == pytest.approx(300)
    assert 0.5 < loud["shuffle"] < 1.1
