"""The written contract, the schema and the files say the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from activations.roles import Role
from autointerp import schema
from autointerp.files import features_folder, read_frame, read_table

DOCS = Path(__file__).parents[2] / "docs" / "feature-table.md"


def test_role_names_are_those_of_the_store() -> None:
    assert tuple(role.name.lower() for role in Role) == schema.ROLE_NAMES


@pytest.mark.parametrize("name", schema.TABLES)
def test_every_column_is_described_in_the_document(name: str) -> None:
    section = DOCS.read_text().split(f"### {name}")[1].split("\n### ")[0]
    for field in schema.TABLES[name]:
        rows = [line for line in section.splitlines() if line.startswith(f"| `{field.name}` |")]
        assert len(rows) == 1, field.name
        _, _, _, null, meaning, _ = (cell.strip() for cell in rows[0].split("|"))
        assert meaning == field.metadata[b"description"].decode()
        assert (null == "yes") == field.nullable


def test_the_schema_needs_nothing_heavy() -> None:
    heavy = {"torch", "pandas", "scipy", "numpy.linalg", "duckdb", "openai", "h5py"} - {"numpy.linalg"}
    code = f"import sys, autointerp.schema; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['pandas']")  # pyarrow looks for pandas lazily, some builds at once


@pytest.mark.parametrize("name", [schema.FEATURES_FILE, schema.CONTEXTS_FILE])
def test_files_have_exactly_the_columns_of_the_schema(hand_run, name: str) -> None:
    table = read_table(features_folder(hand_run.run_dir, "main") / name)
    assert table.schema.equals(schema.TABLES[name], check_metadata=False)


def test_words_in_the_files_are_those_of_the_enums(hand_run) -> None:
    contexts = read_frame(features_folder(hand_run.run_dir, "main") / schema.CONTEXTS_FILE)
    assert set(contexts["kind"]) <= set(schema.Kind)
    assert set(contexts["split"]) == set(schema.Split)
    assert set(contexts["modality"]) == {schema.Modality.IMAGE, schema.Modality.TEXT}
