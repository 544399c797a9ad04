from __future__ import annotations

from pathlib import Path

import pytest

from sae.errors import SAEError
from sae.metrics import SCHEMA, MetricsLog


def row(step: int) -> dict[str, float]:
    return dict.fromkeys(SCHEMA.names, 0.5) | {"step": step, "tokens": 10 * step}


def test_a_resumed_log_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.parquet")
    for step in (5, 10, 15):
        log.add(row(step))
    log.write()
    resumed = MetricsLog.up_to(log.path, 10)
    assert resumed.last_step == 10
    resumed.add(row(12))
    resumed.write()
    assert MetricsLog.up_to(log.path, 99).last_step == 12


def test_no_log_is_an_empty_log_and_a_damaged_one_an_error(tmp_path: Path) -> None:
    path = tmp_path / "metrics.parquet"
    assert MetricsLog.up_to(path, 10).last_step == 0
    assert MetricsLog(path).note() == ""
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(SAEError, match="cannot be read"):
        MetricsLog.up_to(path, 10)


def test_the_note_says_not_available_instead_of_nan(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.parquet")
    log.add(row(1) | {"variance_explained": float("nan")})
    assert "n/a" in log.note()
