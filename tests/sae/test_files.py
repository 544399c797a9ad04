from __future__ import annotations

from pathlib import Path

import pytest

from sae.errors import SAEError
from sae.files import read_json, write_atomically, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "cfg.json"
    write_json(path, {"a": 1})

    def half(temporary: Path) -> None:
        temporary.write_text("{")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half)
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cfg.json"
    with pytest.raises(SAEError, match="is missing"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(SAEError, match="not valid JSON"):
        read_json(path)
    path.write_text("[1]")
    with pytest.raises(SAEError, match="list, not an object"):
        read_json(path)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
