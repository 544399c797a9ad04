"""Every kind of damage is listed, with shard and site."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from activations.verify import damages


@pytest.fixture
def copy(store_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_path.parent, tmp_path / "run")) / "activations"


@pytest.fixture
def old(copy: Path) -> Path:
    """As a store was written before the manifest had a digest of every dataset."""
    path = copy / "manifest.json"
    data = json.loads(path.read_text())
    for shard in data["shards"]:
        del shard["datasets"]
    path.write_text(json.dumps(data))
    return copy


def flip(path: Path, dataset: str, byte: int, mask: int = 64) -> None:
    with h5py.File(path) as file:
        place = file[dataset].id.get_chunk_info(0).byte_offset + byte
    data = bytearray(path.read_bytes())
    data[place] ^= mask
    path.write_bytes(data)


def datasets(path: Path) -> list[str]:
    names: list[str] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def test_a_sound_store_has_no_damage(copy: Path) -> None:
    assert list(damages(copy)) == []


def test_flipped_bits_name_shard_and_site_and_all_are_listed(copy: Path) -> None:
    flip(copy / "shard-00000-00001.h5", "sites/language.1", 1)
    flip(copy / "shard-00000-00003.h5", "sites/language.0", 1)
    (copy / "shard-00000-00002.h5").unlink()
    found = list(damages(copy))
    assert any("00001.h5: checksum" in line and "site language.1" in line for line in found)
    assert any("00003.h5: checksum" in line and "site language.0" in line for line in found)
    assert any("00002.h5: this shard is missing" in line for line in found)
    assert not any("00000.h5" in line for line in found)


def test_the_lowest_bit_of_any_dataset_names_shard_and_dataset_and_nothing_else(copy: Path) -> None:
    path = copy / "shard-00000-00001.h5"
    whole, names = path.read_bytes(), datasets(path)
    assert len(names) == 2 * 2 + 7
    for name in names:
        flip(path, name, 0, mask=1)
        (line,) = [line for line in damages(copy) if "its rows" in line]  # what follows from the wrong value is more
        assert f"00001.h5: checksum differs from the manifest: {name.replace('sites/', 'site ')}: " in line
        path.write_bytes(whole)


def test_bytes_outside_all_rows_are_told_from_those_within(copy: Path) -> None:
    flip(copy / "shard-00000-00001.h5", "norms/language.1", 4 * 4000)  # in the unused end of the last chunk
    (line,) = damages(copy)
    assert "all datasets are as written" in line


def test_an_older_store_is_sound_and_its_damage_is_found_by_norms(old: Path) -> None:
    assert list(damages(old)) == []
    path = old / "shard-00000-00001.h5"
    whole = path.read_bytes()
    flip(path, "sites/language.1", 1)
    (line,) = damages(old)
    assert "00001.h5: checksum" in line
    assert "site language.1" in line
    path.write_bytes(whole)
    flip(path, "tokens/token_id", 0)
    (line,) = damages(old)
    assert "any of the sites language.0, language.1, a token column" in line


def test_a_cut_off_shard_is_listed(copy: Path) -> None:
    path = copy / "shard-00000-00000.h5"
    path.write_bytes(path.read_bytes()[:-1])
    assert any("00000.h5" in line and "cut off" in line for line in damages(copy))


def test_a_manifest_and_a_table_that_disagree_are_listed(copy: Path) -> None:
    path = copy / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rows": 1}))
    table_path = copy.parent / "studies.parquet"
    table = pq.read_table(table_path)
    rows = np.array(table["rows"]).copy()
    rows[7] += 1
    column = table.schema.get_field_index("rows")
    pq.write_table(table.set_column(column, table.schema.field(column), [rows.astype(np.int32)]), table_path)
    rows_line, table_line = damages(copy)
    assert "rows is 1" in rows_line
    assert "the first is 7" in table_line


def test_a_shard_of_another_store_in_the_place_of_one_is_told(copy: Path) -> None:
    path = copy / "shard-00000-00001.h5"
    config_hash = json.loads((copy / "manifest.json").read_text())["config_hash"].encode()
    assert path.read_bytes().count(config_hash) == 1
    path.write_bytes(path.read_bytes().replace(config_hash, b"0" * 16))
    assert any("00001.h5: " in line and "attribute config_hash is '0000" in line for line in damages(copy))
