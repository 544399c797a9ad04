from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from activations.roles import Role
from activations.store import ActivationStore
from radiology.errors import InputError

SITE = "language.0"
WIDTHS = {"language.0": 8, "language.1": 4}


@pytest.fixture
def store(store_path: Path) -> ActivationStore:
    return ActivationStore(store_path)


@pytest.fixture
def copy(store_path: Path, tmp_path: Path) -> Path:
    shutil.copytree(store_path.parent, tmp_path / "run")
    return tmp_path / "run" / "activations"


def edit(directory: Path, **changes: object) -> None:
    path = directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def expected(make_rows: Callable) -> np.ndarray:
    rows = [make_rows(number, WIDTHS).rows[SITE] for number in range(50)]
    return torch.cat(rows).bfloat16().float().numpy()


def test_what_was_written_is_read_bit_for_bit(store: ActivationStore, expected: np.ndarray) -> None:
    assert store.sites == ("language.0", "language.1")
    assert store.rows == len(expected)
    assert len(store.manifest.shards) > 3
    np.testing.assert_array_equal(store.read(SITE, slice(None)), expected)


def test_token_columns_say_where_each_row_comes_from(store: ActivationStore, make_rows: Callable) -> None:
    tokens = store.tokens()
    for study in range(50):
        written = make_rows(study, WIDTHS)
        mine = tokens[tokens["study"] == study]
        assert mine["position"].tolist() == written.positions.tolist()
        for name in ("token_id", "role", "image", "row", "col"):
            assert mine[name].tolist() == getattr(written.tokens, name).tolist()
        rows = store.rows_of_study(study)
        assert mine.index.tolist() == list(range(rows.start, rows.stop))


def test_columns_can_be_chosen(store: ActivationStore) -> None:
    assert store.tokens(["role", "study"]).columns.tolist() == ["role", "study"]
    with pytest.raises(InputError, match="'colour' is no column"):
        store.tokens(["colour"])


@pytest.mark.parametrize("rows", [1, 37, 10_000])
def test_chunks_cover_all_rows_in_study_order(store: ActivationStore, expected: np.ndarray, rows: int) -> None:
    position, studies = 0, []
    for chunk_rows, acts_nd, tokens in store.iter_chunks(SITE, rows):
        assert chunk_rows.start == position
        assert 0 < len(acts_nd) <= rows
        assert acts_nd.dtype == np.float32
        np.testing.assert_array_equal(acts_nd, expected[chunk_rows])
        position = chunk_rows.stop
        studies += tokens["study"].tolist()
    assert position == store.rows
    assert studies == sorted(studies)


def test_rows_are_read_in_the_order_asked_for(store: ActivationStore, expected: np.ndarray) -> None:
    wanted = np.random.default_rng(0).integers(0, store.rows, 200)
    np.testing.assert_array_equal(store.read(SITE, wanted), expected[wanted])
    assert store.read(SITE, []).shape == (0, 8)
    with pytest.raises(InputError, match="the store has rows 0"):
        store.read(SITE, [store.rows])


def test_norms_are_those_of_the_stored_rows(store: ActivationStore, expected: np.ndarray) -> None:
    np.testing.assert_allclose(store.norms(SITE), np.linalg.norm(expected, axis=1), rtol=1e-5)


def as_set(batches: list[torch.Tensor]) -> list[bytes]:
    return sorted(row.numpy().tobytes() for batch in batches for row in batch)


def test_an_epoch_of_batches_holds_each_row_once(store: ActivationStore, expected: np.ndarray) -> None:
    batches = list(store.batches(SITE, 64, seed=1, pool_rows=200))
    assert all(batch.dtype == torch.float32 and batch.shape[1] == 8 for batch in batches)
    assert as_set(batches) == sorted(row.tobytes() for row in expected)


def test_filters_by_role_study_and_norm(store: ActivationStore, expected: np.ndarray) -> None:
    tokens, norms = store.tokens(), store.norms(SITE)
    limit = float(np.median(norms))
    mask = np.arange(50) % 2 == 0
    for studies in (mask, np.flatnonzero(mask), range(0, 50, 2)):
        batches = store.batches(SITE, 32, seed=0, roles="report", studies=studies, max_norm=limit)
        keep = (tokens["role"] == Role.REPORT) & (tokens["study"] % 2 == 0) & (norms <= limit)
        assert as_set(list(batches)) == sorted(row.tobytes() for row in expected[keep.to_numpy()])


def test_a_selection_of_nothing_is_an_error(store: ActivationStore) -> None:
    with pytest.raises(InputError, match=r"no row passes roles='indication'.*image, report"):
        store.batches(SITE, 8, seed=0, roles="indication")
    with pytest.raises(InputError, match="mask has 3 entries"):
        store.select(studies=np.ones(3, dtype=bool))


def test_a_source_goes_on_after_n_batches(store: ActivationStore) -> None:
    source = store.batch_source(SITE, 100, seed=3, pool_rows=300)
    whole = list(islice(source(0), 3 * store.rows // 100))
    for start in (1, store.rows // 100, 2 * store.rows // 100 + 1):
        for resumed, original in zip(source(start), whole[start:], strict=False):
            assert torch.equal(resumed, original)


def test_ranks_share_the_rows_of_an_epoch(store: ActivationStore, expected: np.ndarray) -> None:
    parts = [list(store.batches(SITE, 16, seed=0, rank=rank, world=3)) for rank in range(3)]
    assert as_set([batch for part in parts for batch in part]) == sorted(row.tobytes() for row in expected)


def test_reading_while_a_stream_is_open(store: ActivationStore, expected: np.ndarray) -> None:
    for batch in store.batches(SITE, 50, seed=0, pool_rows=100):
        assert len(batch)
        np.testing.assert_array_equal(store.read(SITE, [5, 3]), expected[[5, 3]])


def test_unknown_site_lists_those_stored(store: ActivationStore) -> None:
    with pytest.raises(InputError, match=r"'vision\.0' is not stored; stored are language\.0, language\.1"):
        store.width("vision.0")
    assert store.width("blocks.1.hook_resid_post") == 4


def test_checksums_find_one_changed_byte(copy: Path) -> None:
    ActivationStore(copy).verify()
    path = copy / "shard-00000-00001.h5"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"shard-00000-00001\.h5: checksum"):
        ActivationStore(copy).verify()


def test_a_cut_off_or_missing_shard_is_named(copy: Path) -> None:
    path = copy / "shard-00000-00002.h5"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match=r"shard-00000-00002\.h5: this shard has \d+ bytes.*cut off"):
        ActivationStore(copy)
    path.unlink()
    with pytest.raises(InputError, match=r"shard-00000-00002\.h5: this shard is missing"):
        ActivationStore(copy)


def test_a_shard_that_is_no_hdf5_is_named(copy: Path) -> None:
    path = copy / "shard-00000-00000.h5"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(InputError, match=r"shard-00000-00000\.h5: .* cannot be read"):
        ActivationStore(copy).tokens()


def test_no_store_says_what_to_run(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(InputError, match=r"no activation store here; run `interp cache` first$"):
        ActivationStore(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"did you mean .*activations"):
        ActivationStore(copy.parent)


def test_incomplete_store_is_opened_only_when_allowed(copy: Path) -> None:
    edit(copy, complete=False)
    with pytest.raises(InputError, match="incomplete"):
        ActivationStore(copy)
    assert ActivationStore(copy, allow_incomplete=True).rows > 0


def test_newer_or_foreign_manifest_is_refused(copy: Path) -> None:
    edit(copy, unknown_field=1)
    assert ActivationStore(copy).rows > 0
    edit(copy, version=2)
    with pytest.raises(InputError, match="version 2 is newer"):
        ActivationStore(copy)
    edit(copy, version=1, format="other")
    with pytest.raises(InputError, match="'other'"):
        ActivationStore(copy)
    (copy / "manifest.json").write_text('{"format": "activation-store", "version": 1}')
    with pytest.raises(InputError, match="damaged manifest"):
        ActivationStore(copy)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_other_dtypes(dtype: str, fill: Callable, make_rows: Callable, tmp_path: Path) -> None:
    with ActivationStore(fill(tmp_path / "activations", range(9), dtype=dtype)) as store:
        rows = torch.cat([make_rows(number, WIDTHS).rows[SITE] for number in range(9)])
        np.testing.assert_array_equal(store.read(SITE, slice(None)), rows.to(getattr(torch, dtype)).float().numpy())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_batches_in_the_stores_own_format_hold_the_same_rows(dtype: str, fill: Callable, tmp_path: Path) -> None:
    with ActivationStore(fill(tmp_path / "activations", range(9), dtype=dtype)) as store:
        own = getattr(torch, dtype)
        plain = store.batches(SITE, 16, seed=0)
        for stored, converted in zip(store.batches(SITE, 16, seed=0, dtype=own), plain, strict=True):
            assert stored.dtype == own
            assert torch.equal(stored.float(), converted)
        with pytest.raises(InputError, match=f"torch.float64 is neither float32 nor the store's own {dtype}"):
            store.batches(SITE, 16, seed=0, dtype=torch.float64)


def test_batches_differ_by_epoch_and_seed_and_repeat(store: ActivationStore) -> None:
    def rows(seed: int, epoch: int) -> torch.Tensor:
        return torch.cat(list(store.batches(SITE, 64, seed=seed, epoch=epoch, pool_rows=200)))

    assert torch.equal(rows(0, 0), rows(0, 0))
    assert not torch.equal(rows(0, 0), rows(0, 1))
    assert not torch.equal(rows(0, 0), rows(1, 0))
