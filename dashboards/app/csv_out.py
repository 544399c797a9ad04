"""``/features.csv``: the features that a query of the list finds, as a file."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, abort, request

from dashboards.app.features_found import find
from dashboards.app.listing import COLUMNS, FeatureQuery
from radiology.errors import InputError

if TYPE_CHECKING:
    from dashboards.app.routing import Router

_MOST = 10_000_000
#: Characters at which spreadsheets begin to calculate.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def add_csv(server: Flask, router: Router) -> None:
    """The route; its query is that of the page."""

    @server.get("/features.csv")
    def features() -> Response:
        try:
            context = router.context(request.query_string.decode(errors="replace"))
            rows, _ = find(context, FeatureQuery.from_address(context.query), 0, _MOST)
        except (InputError, ValueError):
            abort(404)
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["feature", *COLUMNS[1:], "tags", "note"])
        noted = {name: context.notes.of("features", name) for name in _noted(context)}
        for row in rows:
            own = noted.get(str(row["id"]), {"tags": [], "note": ""})
            writer.writerow(
                [plain(row[name]) for name in COLUMNS] + [plain("; ".join(own["tags"])), plain(own["note"])]
            )
        headers = {"Content-Disposition": 'attachment; filename="features.csv"'}
        return Response(text.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)


def _noted(context: Any) -> list[str]:
    return context.notes.names("features")


def plain(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
