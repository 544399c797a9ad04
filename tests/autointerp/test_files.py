"""Tables are replaced whole, and a file that is not of the contract is refused with the command that mends it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autointerp import schema
from autointerp.explanation import Explanation
from autointerp.files import empty_frame, read_frame, table_writer, upsert
from radiology.errors import InputError


def _labels(*pairs: tuple[int, str, str]) -> pd.DataFrame:
    return pd.DataFrame([Explanation(feature=f, explainer=e, label=text).row() for f, e, text in pairs])


def test_upsert_replaces_equal_keys_and_keeps_the_others(tmp_path: Path) -> None:
    path, keys = tmp_path / schema.EXPLANATIONS_FILE, ["feature", "explainer"]
    upsert(path, _labels((2, "a", "old"), (1, "a", "stays"), (2, "b", "other")), keys)
    whole = upsert(path, _labels((2, "a", "new")), keys)
    assert whole["label"].tolist() == ["stays", "new", "other"]
    assert read_frame(path)["label"].tolist() == ["stays", "new", "other"]


def test_upsert_of_nothing_writes_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / schema.SCORES_FILE
    assert len(upsert(path, empty_frame(path.name), ["feature"])) == 0
    assert read_frame(path).columns.tolist() == schema.SCORES.names


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / schema.EXPLANATIONS_FILE
    upsert(path, _labels((1, "a", "old")), ["feature", "explainer"])
    wrong = schema.SCORES.empty_table()
    with pytest.raises(ValueError, match="schema"), table_writer(path) as writer:
        writer.write_table(wrong)
    assert read_frame(path)["label"].tolist() == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_missing_damaged_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / schema.EXPLANATIONS_FILE
    with pytest.raises(InputError, match="interp explain"):
        read_frame(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="damaged"):
        read_frame(path)
    pq.write_table(pa.table({"feature": [1]}), path)
    with pytest.raises(InputError, match="version unknown"):
        read_frame(path)
    pq.write_table(pa.table({"feature": [1]}).replace_schema_metadata({schema.VERSION_KEY: b"1"}), path)
    with pytest.raises(InputError, match="'label'"):
        read_frame(path)


@pytest.mark.parametrize("name", schema.LATER)
def test_files_of_an_earlier_program_are_read_with_nulls_for_what_they_lack(tmp_path: Path, name: str) -> None:
    whole = schema.TABLES[name]
    lacking = schema.LATER[name]
    assert all(whole.field(column).nullable for column in lacking)
    earlier = whole.empty_table().drop_columns(list(lacking))
    pq.write_table(earlier, tmp_path / name)
    assert read_frame(tmp_path / name).columns.tolist() == whole.names
    asked = [lacking[0], "feature"]
    assert read_frame(tmp_path / name, asked).columns.tolist() == asked
