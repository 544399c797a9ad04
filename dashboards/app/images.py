"""Pictures: previews of the studies of the run, by number and view. Nothing is opened by a name from outside."""

from __future__ import annotations

import base64

import duckdb
from flask import Flask, Response, abort

from dashboards.app.view import LiveRun, RunView
from dashboards.data import IMAGE_NAMES
from dashboards.encoding import mean_picture
from radiology.errors import InputError

#: Pictures averaged for the ground behind mean maps, and its side in pixels.
MEAN_OF, MEAN_SIDE = 64, 192
_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))


def image_href(study: int, image: str) -> str:
    return f"/image/{int(study)}/{image}"


def _mean(view: RunView) -> bytes:
    """WebP of the mean of up to 64 shown studies; empty without any."""
    if "studies" not in view.tables.there:
        return b""
    own = "WHERE s.terms = 'phantom'" if view.data.model_is_phantom else ""
    rows = view.tables.ask(
        "SELECT p.preview_frontal AS picture FROM pictures p "
        f"SEMI JOIN (SELECT study FROM studies s {own} ORDER BY study LIMIT {MEAN_OF}) s ON s.study = p.study"
    )
    text, _ = mean_picture([row["picture"] for row in rows if row["picture"]], MEAN_SIDE, 80)
    return base64.b64decode(text) if text else b""


def add_images(server: Flask, run: LiveRun) -> None:
    """``/image/STUDY/VIEW``; studies that may not be shown and views that are not there are not found."""

    means: dict[int, bytes] = {}

    @server.get("/mean-frontal")
    def mean_frontal() -> Response:
        """The mean of some frontal pictures, for orientation behind mean maps."""
        try:
            now = run.current()
            if id(now) not in means:
                means.clear()
                means[id(now)] = _mean(now)
        except (InputError, duckdb.Error):
            abort(404)
        if not means.get(id(now)):
            abort(404)
        return Response(means[id(now)], content_type="image/webp")

    @server.get("/image/<int:study>/<view>")
    def image(study: int, view: str) -> Response:
        if view not in IMAGE_NAMES:
            abort(404)
        try:
            now = run.current()
            if not now.may_show(study) or "studies" not in now.tables.there:
                abort(404)
            rows = now.tables.ask(f"SELECT preview_{view} AS picture FROM pictures WHERE study = ?", [study])
        except (InputError, duckdb.Error):
            abort(404)
        content = bytes(rows[0]["picture"]) if rows and rows[0]["picture"] else b""
        kind = next((kind for start, kind in _KINDS if content.startswith(start)), None)
        if kind is None:
            abort(404)
        return Response(content, content_type=kind)
