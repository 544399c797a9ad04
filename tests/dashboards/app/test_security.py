"""Nobody gets in without being asked in, and nothing gets out that is not the run's to show."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards.app.csv_out import plain
from dashboards.app.server import DashboardServer, create_app, make_server
from radiology.errors import InputError

TOKEN = "0123456789abcdefTOKEN"
PATHS = (
    "/",
    "/app.js",
    "/image/0/frontal",
    "/features.csv",
    "/feature-map.json",
    "/_dash-layout",
    "/_dash-dependencies",
)


@pytest.fixture(scope="module")
def server(app_run: Path, serving: Callable[..., DashboardServer]) -> DashboardServer:
    return serving(app_run)


@pytest.fixture(scope="module")
def guarded(app_run: Path, serving: Callable[..., DashboardServer]) -> DashboardServer:
    return serving(app_run, token=TOKEN)


def ask(
    server: DashboardServer, path: str, method: str = "GET", body: str | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    sent = {"Host": f"127.0.0.1:{server.port}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in sent.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body.encode() if body is not None else None)
    answer = connection.getresponse()
    found = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return found


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8050", "127.0.0.1.evil.example", "", "[::2]", "[broken"]
)
def test_foreign_names_are_refused(server: DashboardServer, host: str) -> None:
    for path in PATHS:
        assert ask(server, path, Host=host)[0] == 403, path


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_served_without_the_token(guarded: DashboardServer, path: str) -> None:
    assert ask(guarded, path)[0] == 401
    assert ask(guarded, path, Cookie=f"interp_token={TOKEN[:-1]}")[0] == 401
    assert ask(guarded, path, Authorization=f"Bearer {TOKEN}x")[0] == 401
    assert ask(guarded, path, Authorization=f"Bearer {TOKEN}", Host="run.example")[0] == 200
    assert ask(guarded, path, Cookie=f"interp_token={TOKEN}")[0] == 200


def test_the_token_of_the_address_becomes_a_cookie_and_leaves_the_address(guarded: DashboardServer) -> None:
    status, _, headers = ask(guarded, f"/features?token={TOKEN}&q=x")
    assert (status, headers["location"]) == (303, "/features")
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Strict" in headers["set-cookie"]
    assert ask(guarded, "/?token=wrong")[0] == 401


def test_other_machines_need_a_token_of_some_length(app_run: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::"):
        with pytest.raises(InputError, match="--token"):
            make_server(app_run, host, 0)
    for token in ("short", "a token with spaces in it", "ümläut-is-not-ascii"):
        with pytest.raises(InputError, match="at least 16"):
            make_server(app_run, "127.0.0.1", 0, token=token)


def test_other_sites_can_change_nothing(server: DashboardServer, app_run: Path) -> None:
    body = json.dumps(note_request("from elsewhere"))
    update = "/_dash-update-component"
    assert ask(server, update, "POST", body, Origin="http://evil.example")[0] == 403
    assert ask(server, update, "POST", body, Sec_Fetch_Site="cross-site")[0] == 403
    assert not (app_run / "sae" / "main" / "notes.json").exists()
    assert ask(server, update, "POST", body, Origin=f"http://127.0.0.1:{server.port}")[0] == 200
    assert "from elsewhere" in (app_run / "sae" / "main" / "notes.json").read_text()
    (app_run / "sae" / "main" / "notes.json").unlink()


def note_request(note: str) -> dict[str, Any]:
    state = [
        ("note-text", "value", note),
        ("note-tags", "value", ""),
        ("note-of", "data", {"kind": "features", "name": "1"}),
    ]
    return {
        "output": "note-state.children",
        "outputs": {"id": "note-state", "property": "children"},
        "inputs": [{"id": "note-keep", "property": "n_clicks", "value": 1}],
        "changedPropIds": ["note-keep.n_clicks"],
        "state": [{"id": name, "property": prop, "value": value} for name, prop, value in state],
    }


@pytest.mark.parametrize(
    "path",
    [
        "/image/0/../../run.json", "/image/0/frontal/../../../run.json", "/image/../run.json", "/..%2f..%2frun.json",
        "/assets/../run.json", "/assets/..%2f..%2f..%2frun.json", "/assets/%2e%2e/%2e%2e/server.py",
        "/image/0/preview_frontal",
        "/image/0/frontal;DROP", "/image/99999999999/frontal", "/image/-1/frontal", "/image/0/%2fetc%2fpasswd",
        "/_dash-component-suites/dash/../../../../etc/passwd", "/_dash-component-suites/dashboards/app/server.py",
        "/_dash-component-suites/dash/dash.py", "//etc/passwd", "/etc/passwd", "/app.js/../server.py",
    ],
)  # fmt: skip
def test_no_request_reaches_a_file_outside_what_is_shown(server: DashboardServer, path: str) -> None:
    status, body, headers = ask(server, path)
    assert b"root:" not in body
    assert b"interp-run" not in body
    assert b"def create_app" not in body
    if status == 200:  # the app's own start page, which then says that there is no such page
        assert headers["content-type"].startswith("text/html")
        assert b"_dash-config" in body


def test_pictures_of_hidden_studies_are_not_found(
    app_run: Path, server: DashboardServer, serving: Callable[..., Any]
) -> None:
    assert ask(server, "/image/0/frontal")[2]["content-type"] == "image/png"
    assert ask(server, "/image/47/frontal")[0] == 404, "the last study is credentialed"
    opened = serving(app_run, with_credentialed_data=True)
    assert ask(opened, "/image/47/frontal")[0] == 200


def test_a_preview_that_is_no_picture_is_not_served(fresh_run: Path, serving: Callable[..., Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(fresh_run / "studies.parquet").to_pylist()
    rows[0]["preview_frontal"] = b"<svg onload=alert(1)>"
    pq.write_table(pa.Table.from_pylist(rows), fresh_run / "studies.parquet")
    server = serving(fresh_run)
    assert ask(server, "/image/0/frontal")[0] == 404
    assert ask(server, "/image/1/frontal")[0] == 200


def test_every_answer_carries_a_policy_that_allows_its_own_scripts_only(server: DashboardServer) -> None:
    for path in (*PATHS, "/nothing"):
        headers = ask(server, path)[2]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        scripts = policy.split("script-src ")[1].split(";")[0].split()
        assert scripts[0] == "'self'"
        assert all(one.startswith("'sha256-") for one in scripts[1:])
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"


def test_the_start_page_asks_for_nothing_from_elsewhere(app_run: Path) -> None:
    page = create_app(app_run).server.test_client().get("/", headers={"Host": "localhost"}).get_data(as_text=True)
    found = re.findall(r"(?:src|href)=[\"']([^\"']+)", page)
    assert len(found) > 5
    assert all(one.startswith("/") or one == "data:," for one in found)


def test_large_requests_are_refused(server: DashboardServer) -> None:
    body = json.dumps(note_request("x" * 1_100_000))
    assert ask(server, "/_dash-update-component", "POST", body)[0] == 413


def test_no_cell_of_the_csv_is_a_formula(server: DashboardServer) -> None:
    assert [plain(text) for text in ("=1+1", "@SUM", "-x", "effusion", 3)] == ["'=1+1", "'@SUM", "'-x", "effusion", 3]
    status, body, headers = ask(server, "/features.csv?polarity=present&sort=score&order=down")
    lines = body.decode().splitlines()
    assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert lines[0].startswith("feature,label,polarity")
    assert len(lines) == 4
    assert all(",present," in line for line in lines[1:])


def test_a_port_in_use_is_named(server: DashboardServer, app_run: Path) -> None:
    with pytest.raises(InputError, match="--port"):
        make_server(app_run, "127.0.0.1", server.port)
    with pytest.raises(InputError, match="not a port"):
        make_server(app_run, "127.0.0.1", 70000)
