"""Serving begins with an address and ends with a free port."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards.app.server import serve
from radiology.errors import InputError


def test_serving_tells_its_address_and_frees_the_port_when_interrupted(app_run: Path) -> None:
    told: list[str] = []

    def ready(url: str) -> None:
        told.append(url)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            serve(app_run, port=int(told[0].split(":")[2].strip("/")) if told else 0, on_ready=ready)
    assert told[0] == told[1]


def test_a_folder_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        serve(tmp_path / "nowhere", port=0)
