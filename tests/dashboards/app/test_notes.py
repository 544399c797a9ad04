"""Notes are kept whole, in a file of their own, and nothing else of the run is written."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from dashboards.app.notes import MAX_NOTE, Notes
from radiology.errors import InputError


def test_what_was_put_is_there_and_empty_takes_it_away(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    assert notes.of("features", "3") == {"note": "", "tags": []}
    notes.put("features", "3", " <b>odd</b> ", ["to check", " to   check ", "", "tubes"])
    notes.put("features", "4", "", ["tubes"])
    assert Notes(tmp_path).of("features", "3") == {"note": "<b>odd</b>", "tags": ["to check", "tubes"]}
    assert notes.tags() == {"to check": ["3"], "tubes": ["3", "4"]}
    notes.put("features", "3", "", [])
    assert notes.names() == ["4"]
    assert [path.name for path in tmp_path.iterdir()] == ["notes.json"]


def test_writers_do_not_lose_each_others_notes(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    writers = [threading.Thread(target=notes.put, args=("studies", str(i), f"note {i}", [])) for i in range(24)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(map(int, notes.names("studies"))) == list(range(24))


@pytest.mark.parametrize("content", ["{", "[]", '{"features": []}', '{"features": {"1": {"tags": 3}}}'])
def test_a_damaged_file_is_neither_read_nor_overwritten(tmp_path: Path, content: str) -> None:
    (tmp_path / "notes.json").write_text(content)
    with pytest.raises(InputError, match="damaged"):
        Notes(tmp_path).of("features", "1")
    with pytest.raises(InputError, match="damaged"):
        Notes(tmp_path).put("features", "1", "new", [])
    assert (tmp_path / "notes.json").read_text() == content


def test_bounds(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    with pytest.raises(InputError, match="note"):
        notes.put("features", "1", "x" * (MAX_NOTE + 1), [])
    with pytest.raises(InputError, match="tags"):
        notes.put("features", "1", "", ["x" * 61])
    with pytest.raises(InputError, match="kind"):
        notes.put("others", "1", "x", [])
    notes.put("features", "1", "x", [])
    assert json.loads((tmp_path / "notes.json").read_text())["version"] == 1
    with pytest.raises(InputError, match="not kept"):
        Notes(tmp_path / "nowhere").put("features", "1", "x", [])
