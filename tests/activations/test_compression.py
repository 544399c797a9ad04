from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from activations.manifest import StoreConfig, read_manifest
from activations.roles import Role
from activations.store import ActivationStore
from activations.writer import StoreWriter
from radiology.errors import InputError

WIDTHS = {"language.0": 64, "language.1": 4}
PLAIN = StoreConfig("none", "fingerprint", WIDTHS, "bfloat16", (Role.IMAGE, Role.REPORT))
FILTERS = {"none": None, "blosc2": "32026", "bitshuffle": "32008"}  # registered with the HDF Group


def fill(run: Path, make_rows: Callable, compression: str) -> ActivationStore:
    config = dataclasses.replace(PLAIN, compression=compression)
    with StoreWriter(run / "activations", config, shard_rows=1500) as writer:
        for number in range(80):
            writer.add([make_rows(number, WIDTHS, 80)])
        writer.finish()
    return ActivationStore(run / "activations")


@pytest.fixture(scope="module")
def plain(make_rows: Callable, tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    return fill(tmp_path_factory.mktemp("plain"), make_rows, "none")


@pytest.mark.parametrize("compression", ["blosc2", "bitshuffle"])
def test_compressed_stores_hold_the_same_rows_in_fewer_bytes(
    tmp_path: Path, plain: ActivationStore, make_rows: Callable, compression: str
) -> None:
    store = fill(tmp_path, make_rows, compression)
    store.verify()
    for site in WIDTHS:
        np.testing.assert_array_equal(store.read(site, slice(None)), plain.read(site, slice(None)))
        np.testing.assert_array_equal(store.norms(site), plain.norms(site))
    assert store.tokens().equals(plain.tokens())
    compressed, whole = (sum(shard.bytes for shard in one.manifest.shards) for one in (store, plain))
    assert compressed < 0.9 * whole


@pytest.mark.parametrize("compression", list(FILTERS))
def test_only_sites_are_filtered_and_by_the_filter_of_the_page(
    tmp_path: Path, make_rows: Callable, compression: str
) -> None:
    store = fill(tmp_path, make_rows, compression)
    with h5py.File(store.directory / store.manifest.shards[0].file) as file:
        for group in ("sites", "norms", "tokens"):
            expected = {FILTERS[compression]} - {None} if group == "sites" else set()
            for dataset in file[group].values():
                assert set(dataset._filters) == expected
    page = (Path(__file__).parents[2] / "docs" / "activation-store.md").read_text(encoding="utf-8")
    if FILTERS[compression]:
        assert f"`{compression}` is HDF5 filter {FILTERS[compression]}" in page or (
            f"`{compression}` {FILTERS[compression]}" in page
        )


def test_the_manifest_names_a_compression_and_the_hash_covers_it(
    tmp_path: Path, plain: ActivationStore, make_rows: Callable
) -> None:
    """Without one, manifest and hash are those of stores from before there was any."""
    assert "compression" not in json.loads((plain.directory / "manifest.json").read_text())
    assert PLAIN.hash == "67b6bb95fde7d339"
    store = fill(tmp_path, make_rows, "blosc2")
    assert json.loads((store.directory / "manifest.json").read_text())["compression"] == "blosc2"
    assert store.manifest.config.compression == "blosc2"
    hashes = {dataclasses.replace(PLAIN, compression=compression).hash for compression in FILTERS}
    assert len(hashes) == len(FILTERS)


@pytest.mark.parametrize(("there", "asked"), [("none", "blosc2"), ("bitshuffle", "none")])
def test_a_store_is_not_continued_with_another_compression(
    tmp_path: Path, make_rows: Callable, there: str, asked: str
) -> None:
    fill(tmp_path, make_rows, there)
    with (
        pytest.raises(InputError, match=f"compression differs: .*'{there}', now '{asked}'"),
        StoreWriter(tmp_path / "activations", dataclasses.replace(PLAIN, compression=asked)),
    ):
        pass


def test_without_the_package_compressed_stores_are_refused_by_its_name(
    tmp_path: Path, make_rows: Callable, plain: ActivationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path, make_rows, "bitshuffle")
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(InputError, match=f"{store.directory}: compression 'bitshuffle' needs the package hdf5plugin"):
        ActivationStore(store.directory)
    with pytest.raises(InputError, match="compression 'blosc2' needs the package hdf5plugin"):
        fill(tmp_path / "new", make_rows, "blosc2")
    assert read_manifest(tmp_path / "new" / "activations") is None
    assert ActivationStore(plain.directory).read("language.0", [0]).shape == (1, 64)


def test_unknown_compressions_are_refused(tmp_path: Path, plain: ActivationStore) -> None:
    with pytest.raises(InputError, match="compression: 'gzip' is unknown; choose one of"):
        dataclasses.replace(PLAIN, compression="gzip")
    data = json.loads((plain.directory / "manifest.json").read_text()) | {"compression": "later"}
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="compression is 'later', not one of"):
        ActivationStore(tmp_path)
