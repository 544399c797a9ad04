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


def flip(path: Path, dataset: str, byte: int) -> None:
    with h5py.File(path) as file:
        place = file[dataset].id.get_chunk_info(0).byte_offset + byte
    data = bytearray(path.read_bytes())
    data[place] ^= 64
    path.write_bytes(data)


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


def test_a_bit_that_moves_no_norm_still_names_the_shard(copy: Path) -> None:
    flip(copy / "shard-00000-00001.h5", "tokens/token_id", 0)
    (line,) = damages(copy)
    assert "00001.h5: checksum" in line
    assert "language.0, language.1" in line


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
