"""Showing the dashboard on this machine: the page of the export at full detail, of the run as it is now."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from dashboards.build import LEVELS, PageBuilder
from radiology.errors import InputError

DEFAULT_PORT = 8050
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
_Fingerprint = tuple[tuple[str, int, int], ...]


def _announce(url: str) -> None:
    print(f"Dashboard: {url} (Ctrl-C ends it)", flush=True)


def serve(
    run_dir: Path,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    sae_name: str = "main",
    with_credentialed_data: bool = False,
    on_ready: Callable[[str], None] = _announce,
) -> None:
    """Serve until interrupted (Ctrl-C raises ``KeyboardInterrupt`` after the port is closed).

    Args:
        run_dir: the run directory.
        host: a loopback address; nothing else is served here.
        port: 0 takes a free one.
        sae_name: which autoencoder of the run.
        with_credentialed_data: show text and pictures of credentialed studies.
        on_ready: called once with the address to open; by default it is printed.

    Raises:
        InputError: no run, a host that other machines could reach, or a port in use.
    """
    server = make_server(run_dir, host, port, sae_name=sae_name, with_credentialed_data=with_credentialed_data)
    try:
        on_ready(server.url)
        server.serve_forever(poll_interval=0.2)
    finally:
        server.server_close()


def make_server(
    run_dir: Path, host: str, port: int, *, sae_name: str = "main", with_credentialed_data: bool = False
) -> DashboardServer:
    """A bound server that is not running yet; errors as of :func:`serve`."""
    if host not in LOOPBACK_HOSTS:
        raise InputError(
            f"host: {host!r} can be reached from other machines; the dashboard has no login. "
            f"Use one of {', '.join(LOOPBACK_HOSTS)}, and ssh -L to look at it from elsewhere."
        )
    if not 0 <= port <= 65535:
        raise InputError(f"port: {port} is not a port (0 to 65535)")
    pages = LivePage(run_dir, sae_name, with_credentialed_data)
    pages.current()
    try:
        return DashboardServer(host, port, pages)
    except OSError as error:
        raise InputError(
            f"port: {port} on {host} cannot be used ({error.strerror}); choose another one with --port"
        ) from None


class LivePage:
    """The page of a run, built anew when a file of the run has changed."""

    def __init__(self, run_dir: Path, sae_name: str, with_credentialed_data: bool) -> None:
        self._run_dir = run_dir
        self._sae_name = sae_name
        self._credentialed = with_credentialed_data
        self._lock = threading.Lock()
        self._built: tuple[_Fingerprint, bytes] | None = None

    def current(self) -> bytes:
        """The page of the run as it is now.

        Raises:
            InputError: the directory is no run (any more).
        """
        with self._lock:
            fingerprint = self._fingerprint()
            if self._built is None or self._built[0] != fingerprint:
                builder = PageBuilder(self._run_dir, self._sae_name, self._credentialed, max_features=None)
                page = builder.page(LEVELS[0], max_bytes=None)
                assert page is not None  # without a bound every page fits
                self._built = (fingerprint, page.html.encode("utf-8"))
            return self._built[1]

    def _fingerprint(self) -> _Fingerprint:
        """Name, time and size of every file that the page is made from."""
        folders = (self._run_dir, self._run_dir / "trace", self._run_dir / "activations")
        sae = self._run_dir / "sae" / self._sae_name
        paths = [path for folder in folders for path in folder.glob("*") if path.suffix in (".json", ".parquet")]
        for folder in (".", "features", "labels", "steering/*"):
            paths += [path for path in sae.glob(f"{folder}/*") if path.suffix in (".json", ".parquet")]
        found = []
        for path in sorted(paths):
            try:
                state = path.stat()
            except FileNotFoundError:  # replaced between listing and looking
                continue
            found.append((str(path), state.st_mtime_ns, state.st_size))
        return tuple(found)


class DashboardServer(ThreadingHTTPServer):
    """Serves one page at ``/`` on a loopback address.

    Attributes:
        url: the address to open.
        pages: where the page comes from.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, pages: LivePage) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.pages = pages
        super().__init__((host, port), _Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: DashboardServer
    server_version = "interp"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        status, kind, body = self._content()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _content(self) -> tuple[HTTPStatus, str, bytes]:
        name = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if name not in LOOPBACK_HOSTS:  # a foreign name that was made to point here (DNS rebinding)
            return HTTPStatus.FORBIDDEN, "text/plain", b"This server answers to localhost only.\n"
        if urlsplit(self.path).path != "/":
            return HTTPStatus.NOT_FOUND, "text/plain", b"There is one page here: /\n"
        try:
            return HTTPStatus.OK, "text/html", self.server.pages.current()
        except InputError as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{error}\n".encode()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: the terminal belongs to the command line."""
