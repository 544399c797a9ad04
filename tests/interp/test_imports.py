"""Imports only go down the table of docs/architecture.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "radiology": set(),
    "sae": set(),
    "activations": {"radiology"},
    "autointerp": {"radiology", "activations", "sae"},
    "steering": {"radiology", "activations", "sae"},
    "dashboards": set(),
    "interp": {"radiology", "activations", "sae", "autointerp", "steering", "dashboards"},
}
#: The dashboard reads tables, so it may know their columns, and how masks are written in one of them, and nothing else
#: of the rooms that write them. Bad input is the same error everywhere.
SCHEMAS = {"dashboards": {"autointerp.schema", "steering.schema", "radiology.errors", "radiology.masks"}}


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_only_go_down(room: str) -> None:
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[room] - {room}
    wrong = []
    for path in sorted((ROOT / room).rglob("*.py")):
        modules = imported_modules(path)
        for module in modules:
            allowed = {s for s in SCHEMAS.get(room, set()) if module == s or module.startswith(s + ".")}
            # `from autointerp import schema` names the package once and the schema once
            named_by_schema = any(s.startswith(module + ".") and s in modules for s in SCHEMAS.get(room, set()))
            if module.split(".")[0] in forbidden and not allowed and not named_by_schema:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong


def test_there_are_files_to_check() -> None:
    assert all(list((ROOT / room).rglob("*.py")) for room in MAY_IMPORT)


def test_a_benchmark_that_is_called_like_a_package_does_not_hide_it() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import steering; print(steering.Add(1.0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Add("), done.stderr
