"""The notebooks run from top to bottom on the demo's run, and each .ipynb is its .py."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

import jupytext
import pytest

from interp.run import Run

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))


def executed(name: str, run: Run, folder: Path, studies: int) -> dict[str, Any]:
    """The names that a notebook leaves behind."""
    asked = {"INTERP_RUN": str(run.path), "INTERP_STUDIES": str(studies), "INTERP_FOLDER": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in asked.items():
            patch.setitem(os.environ, key, value)
        return runpy.run_path(str(NOTEBOOKS / f"{name}.py"))


def test_there_are_five() -> None:
    assert len(NAMES) == 5


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_says_the_same(name: str) -> None:
    script, page = (jupytext.read(NOTEBOOKS / f"{name}.{kind}") for kind in ("py", "ipynb"))
    assert [(cell.cell_type, cell.source) for cell in script.cells] == [
        (cell.cell_type, cell.source) for cell in page.cells
    ]  # else: jupytext --sync notebooks/*.py


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.usefixtures("short_reports")
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_draws(name: str, tiny_run: Run, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_run.path.rglob("*.*")}
    left = executed(name, tiny_run, tmp_path, studies=2)
    figures = [value for value in left.values() if type(value).__name__ == "Figure"]
    assert figures or "effects" in left
    assert {path: path.stat().st_mtime_ns for path in tiny_run.path.rglob("*.*")} == before
