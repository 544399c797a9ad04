"""What happens when a person asks for a page, scrolls the table, chooses a finding, keeps a note, or steers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import duckdb
from dash import Dash, Input, Output, State, html, no_update

from dashboards.app import detector, parts
from dashboards.app.features_found import find
from dashboards.app.layout import RESEARCH
from dashboards.app.listing import SORTABLE, FeatureQuery
from dashboards.app.live import steer_result
from dashboards.app.routing import Router
from radiology.errors import InputError


def add_callbacks(app: Dash, router: Router) -> None:
    """All of them."""
    _pages(app, router)
    _table(app, router)
    _detector(app, router)
    _notes(app, router)
    _live(app, router)


def _pages(app: Dash, router: Router) -> None:
    @app.callback(
        Output("page", "children"), Output("ribbon", "children"), Input("url", "pathname"), Input("url", "search")
    )
    def page(path: str | None, search: str | None) -> tuple[Any, str]:
        content = router.page(path, search)
        try:
            ribbon = router.context().view.run["ribbon"]
        except (InputError, ValueError):
            ribbon = RESEARCH
        return content, ribbon


def _table(app: Dash, router: Router) -> None:
    @app.callback(
        Output("features-grid", "getRowsResponse"),
        Output("features-found", "children"),
        Output("features-csv", "href"),
        Input("features-grid", "getRowsRequest"),
        State("features-query", "data"),
        State("grid-start", "data"),
        State("url", "search"),
    )
    def rows(request: dict[str, Any] | None, chosen: dict[str, str] | None, start: str, search: str) -> Any:
        if not request:
            return no_update, no_update, no_update
        context = router.context(search if chosen is None else "?" + urlencode(chosen))
        query = _sorted(FeatureQuery.from_address(context.query), request.get("sortModel"))
        first = max(0, int(request.get("startRow") or 0))
        last = min(max(first, int(request.get("endRow") or 0)), first + 500)
        try:
            found, total = find(context, query, first, last)
        except duckdb.Error as error:
            return {"rowData": [], "rowCount": 0}, f"The table could not be read ({type(error).__name__}).", no_update
        words = f"{parts.count(total)} features" if total != 1 else "1 feature"
        if query.meaning and query.text:
            words += f" near in meaning to “{query.text}”; such nearness is blind to negation"
        return {"rowData": found, "rowCount": total}, words, f"/features.csv?{query.to_address()}"


def _sorted(query: FeatureQuery, model: Any) -> FeatureQuery:
    """The query in the order of the table's heads."""
    from dataclasses import replace

    first = model[0] if isinstance(model, list) and model and isinstance(model[0], dict) else {}
    column = first.get("colId")
    return (
        replace(query, sort=column, down=first.get("sort") == "desc")
        if column in SORTABLE
        else replace(query, sort="id", down=False)
    )


def _detector(app: Dash, router: Router) -> None:
    @app.callback(Output("roc", "children"), Input("roc-ask", "data"))
    def measured(asked: dict[str, str] | None) -> Any:
        try:
            number = int((asked or {}).get("feature", ""))
        except ValueError:
            return no_update
        view = router.context().view
        return detector.blocks(view, number, str((asked or {}).get("finding")), str((asked or {}).get("modality")))


def _notes(app: Dash, router: Router) -> None:
    @app.callback(
        Output("note-state", "children"),
        Input("note-keep", "n_clicks"),
        State("note-text", "value"),
        State("note-tags", "value"),
        State("note-of", "data"),
        prevent_initial_call=True,
    )
    def keep(clicks: int, note: str | None, tags: str | None, of: dict[str, str]) -> Any:
        if not clicks:
            return no_update
        try:
            router.notes.put(str(of["kind"]), str(of["name"]), note or "", (tags or "").split(","))
        except InputError as error:
            return str(error)
        return "Kept."


def _live(app: Dash, router: Router) -> None:
    @app.callback(
        Output("live-result", "children"),
        Input("live-ask", "data"),
        prevent_initial_call=True,
    )
    def steered(asked: dict[str, str] | None) -> Any:
        if not asked:
            return no_update
        try:
            return steer_result(router.context(), asked)
        except InputError as error:
            return html.P(str(error), className="missing", role="alert")
