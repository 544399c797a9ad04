from __future__ import annotations

import http.client
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.serve import DashboardServer, LivePage, make_server, serve
from radiology.errors import InputError


@pytest.fixture
def server(fresh_run: Path) -> Iterator[DashboardServer]:
    one = make_server(fresh_run, "127.0.0.1", 0)
    thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield one
    one.shutdown()
    thread.join()
    one.server_close()


def ask(server: DashboardServer, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def test_the_page_is_served_and_nothing_else(server: DashboardServer) -> None:
    status, body, headers = ask(server)
    assert status == 200
    assert body.startswith(b"<!DOCTYPE html>")
    assert headers["Cache-Control"] == "no-store"
    assert ask(server, method="HEAD")[:2] == (200, b"")
    for path in ("/run.json", "/../run.json", "/studies.parquet"):
        assert ask(server, path)[0] == 404


def test_a_foreign_name_is_refused(server: DashboardServer) -> None:
    assert ask(server, Host="evil.example")[0] == 403
    assert ask(server, Host=f"localhost:{server.server_port}")[0] == 200


def test_a_changed_run_is_shown_anew(fresh_run: Path, block: Callable[[str, str], Any]) -> None:
    pages = LivePage(fresh_run, "main", with_credentialed_data=False)
    before = pages.current()
    assert pages.current() is before
    shutil.rmtree(fresh_run / "trace")
    after = pages.current()
    assert block(before.decode(), "index")["figures"]["causal"]
    assert not block(after.decode(), "index")["figures"]["causal"]


def test_a_run_that_vanishes_is_a_message(server: DashboardServer, fresh_run: Path) -> None:
    shutil.rmtree(fresh_run)
    status, body, _ = ask(server)
    assert status == 503
    assert b"no folder" in body


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::"])
def test_only_this_machine_is_served(run_dir: Path, host: str) -> None:
    with pytest.raises(InputError, match="no login"):
        make_server(run_dir, host, 0)


def test_a_port_in_use_is_named(server: DashboardServer, run_dir: Path) -> None:
    with pytest.raises(InputError, match="--port"):
        make_server(run_dir, "127.0.0.1", server.server_port)
    with pytest.raises(InputError, match="not a port"):
        make_server(run_dir, "127.0.0.1", 70000)


def test_serving_tells_its_address_and_frees_the_port_when_interrupted(run_dir: Path) -> None:
    told: list[str] = []

    def ready(url: str) -> None:
        told.append(url)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            serve(run_dir, port=int(told[0].split(":")[2].strip("/")) if told else 0, on_ready=ready)
    assert told[0] == told[1]
