"""Pictures: previews of the studies of the run, by number and view. Nothing is opened by a name from outside."""

from __future__ import annotations

import duckdb
from flask import Flask, Response, abort

from dashboards.app.view import LiveRun
from dashboards.data import IMAGE_NAMES
from radiology.errors import InputError

_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))


def image_href(study: int, image: str) -> str:
    return f"/image/{int(study)}/{image}"


def add_images(server: Flask, run: LiveRun) -> None:
    """``/image/STUDY/VIEW``; studies that may not be shown and views that are not there are not found."""

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
