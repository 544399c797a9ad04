from __future__ import annotations

import pandas as pd
import pytest

from steering.errors import SteeringError
from steering.tables import read_json, read_table, table_of, write_json, write_table

COLUMNS = {"name": "str", "n": "int64", "rate": "float64"}


def test_round_trip(tmp_path):
    table = table_of([{"name": "ä", "n": 1, "rate": float("nan")}], COLUMNS)
    write_table(table, tmp_path / "new" / "t.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "new" / "t.parquet", COLUMNS), table)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["t.parquet"]
    write_json({"ä": [1]}, tmp_path / "x.json")
    assert read_json(tmp_path / "x.json") == {"ä": [1]}


def test_an_empty_table_has_its_types():
    assert {name: str(kind) for name, kind in table_of([], COLUMNS).dtypes.items()} == COLUMNS


def test_broken_files_are_named(tmp_path):
    broken = tmp_path / "t.parquet"
    with pytest.raises(SteeringError, match="there is no such file"):
        read_table(broken, COLUMNS)
    broken.write_bytes(b"PAR1 not really")
    with pytest.raises(SteeringError, match="not a readable parquet file"):
        read_table(broken, COLUMNS)
    write_table(pd.DataFrame({"name": ["a"]}), broken)
    with pytest.raises(SteeringError, match="the column 'n' is missing"):
        read_table(broken, COLUMNS)
    with pytest.raises(SteeringError, match="no such file"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(SteeringError, match="not JSON"):
        read_json(tmp_path / "x.json")
