"""Serving the dashboard: the app, its routes and callbacks, and the socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from dash import Dash
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler
from werkzeug.serving import make_server as make_wsgi_server

from dashboards.app.callbacks import add_callbacks
from dashboards.app.csv_out import add_csv
from dashboards.app.feature_map import add_feature_map
from dashboards.app.images import add_images
from dashboards.app.layout import add_bundles, frame, index_string
from dashboards.app.routing import Router
from dashboards.app.security import LOOPBACK_HOSTS, check_exposure, guard
from dashboards.app.view import Helpers, LiveRun
from radiology.errors import InputError

DEFAULT_PORT = 8050


def create_app(
    run_dir: Path,
    *,
    sae_name: str = "main",
    token: str | None = None,
    with_credentialed_data: bool = False,
    helpers: Helpers | None = None,
) -> Dash:
    """The app over a run directory, not serving yet; ``.server`` is its WSGI application.

    Raises:
        InputError: there is no such folder. A folder without a run opens with a page that says so.
    """
    if not run_dir.is_dir():
        raise InputError(f"{run_dir} is no folder. Give the folder of a run, e.g. --run runs/demo.")
    helpers = helpers or Helpers()
    run = LiveRun(run_dir, sae_name, with_credentialed_data)
    name = run_dir.resolve().name
    app = Dash(
        "dashboards.app",
        assets_folder=str(Path(__file__).parent / "assets"),
        include_assets_files=False,
        serve_locally=True,
        index_string=index_string(name),
        title=name,
        update_title="",
        suppress_callback_exceptions=True,
        add_log_handler=False,
        compress=False,
    )
    app.layout = frame(name)
    app.close_run = run.close  # an attribute of our own: who serves the app closes the run behind it
    router = Router(run, helpers)
    add_callbacks(app, router)
    add_bundles(app.server)
    add_images(app.server, run)
    add_csv(app.server, router)
    add_feature_map(app.server, run)
    guard(app.server, token, list(app.csp_hashes()))
    return app


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, kind: str, message: str, *values: object) -> None:
        """Requests are not logged: the terminal belongs to the command line, and addresses hold names of studies."""

    def version_string(self) -> str:
        return "interp"


class DashboardServer:
    """A bound server.

    Attributes:
        url: the address to open, without the token.
        port: the port it is bound to.
    """

    def __init__(self, app: Dash, host: str, port: int) -> None:
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
            self._server: BaseWSGIServer = make_wsgi_server(
                host, port, app.server, threaded=True, request_handler=_Quiet
            )
        except OSError as error:
            raise InputError(
                f"port: {port} on {host} cannot be used ({error.strerror}); choose another one with --port"
            ) from None
        self._close_run: Callable[[], None] = app.close_run
        self.port = self._server.server_port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def serve_forever(self) -> None:
        self._server.serve_forever()

    def shutdown(self) -> None:
        """End :meth:`serve_forever`, which runs in another thread."""
        self._server.shutdown()

    def close(self) -> None:
        """Free the port and the tables."""
        self._server.server_close()
        self._close_run()


def make_server(
    run_dir: Path,
    host: str = LOOPBACK_HOSTS[0],
    port: int = DEFAULT_PORT,
    *,
    sae_name: str = "main",
    token: str | None = None,
    with_credentialed_data: bool = False,
    helpers: Helpers | None = None,
) -> DashboardServer:
    """A bound server that is not running yet; arguments and errors as of :func:`serve`."""
    check_exposure(host, token)
    if not 0 <= port <= 65535:
        raise InputError(f"port: {port} is not a port (0 to 65535)")
    app = create_app(
        run_dir, sae_name=sae_name, token=token, with_credentialed_data=with_credentialed_data, helpers=helpers
    )
    return DashboardServer(app, host, port)


def _announce(url: str) -> None:
    print(f"Dashboard: {url} (Ctrl-C ends it)", flush=True)


def serve(
    run_dir: Path,
    host: str = LOOPBACK_HOSTS[0],
    port: int = DEFAULT_PORT,
    *,
    sae_name: str = "main",
    token: str | None = None,
    with_credentialed_data: bool = False,
    helpers: Helpers | None = None,
    on_ready: Callable[[str], None] = _announce,
) -> None:
    """Serve until interrupted (Ctrl-C raises ``KeyboardInterrupt`` after the port is closed).

    Args:
        run_dir: the run directory.
        host: a loopback address, or with a token any other.
        port: 0 takes a free one.
        sae_name: which autoencoder of the run.
        token: what everybody must show who asks; needed for hosts that other machines can reach.
        with_credentialed_data: show text and pictures of credentialed studies.
        helpers: what other rooms can do: search by meaning, reading findings, live steering.
        on_ready: called once with the address to open; by default it is printed.

    Raises:
        InputError: no such folder, a host that other machines could reach without a token, or a port in use.
    """
    server = make_server(
        run_dir,
        host,
        port,
        sae_name=sae_name,
        token=token,
        with_credentialed_data=with_credentialed_data,
        helpers=helpers,
    )
    try:
        on_ready(server.url)
        server.serve_forever()
    finally:
        server.close()
