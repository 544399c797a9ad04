"""All features in a table that asks the server for the rows it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dash_ag_grid
from dash import dcc, html

from autointerp.schema import Modality, Polarity
from dashboards.app import parts
from dashboards.app.listing import STEERS, FeatureQuery

if TYPE_CHECKING:
    from dashboards.app.routing import Context

ROWS_A_TIME = 100
_COLUMNS = (
    ("id", "#", "Number of the feature", 78, "FeatureCell"),
    ("label", "Label", "Machine-written; nobody has checked it", 320, "LabelCell"),
    ("polarity", "Polarity", "What the label says of its concept", 120, "PolarityCell"),
    ("concept", "Concept", "Finding that the label names", 180, "WordsCell"),
    ("modality", "Seen in", "Where it fires", 100, None),
    ("grp", "Group", "Matryoshka group, 1 is the innermost", 92, None),
    ("rate", "Fires", "Share of tokens on which it fires", 104, "PercentCell"),
    ("score", "AUC", "Against hard negatives, with its interval; the tick is labels of others", 190, "ScoreCell"),
    ("n_studies", "Studies", "Studies in which it fires", 104, None),
    ("steers", "Steers", "Whether steering it, alone or in a group, reached its goal beyond the controls", 108, None),
)  # fmt: skip


def page(context: Context, rest: str) -> Any:
    """The list of features."""
    view = context.view
    head = parts.page_head("Run " + view.run["name"], "Features", parts.small("Labels are machine-written."))
    if view.list is None:
        return html.Div([head, *parts.missing_cards(view.missing("features"))], className="stack")
    query = FeatureQuery.from_address(context.query)
    return html.Div(
        [
            head,
            parts.form(_fields(context, query), store="features-query"),
            html.Div(
                [
                    html.P("", id="features-found", className="muted", role="status"),
                    html.A(
                        "Save as CSV",
                        href="/features.csv",
                        id="features-csv",
                        className="button",
                        download="features.csv",
                    ),
                ],
                className="found",
            ),
            grid(query),
            *parts.missing_cards(view.missing("labels", "scores")),
        ],
        className="stack",
    )


def _fields(context: Context, query: FeatureQuery) -> list[dict[str, Any]]:
    view = context.view
    assert view.list is not None
    anything = ["", "any"]
    steers = {"yes": "alone", "in a group": "in a group", "no": "does not", "untested": "untested"}
    groups = [[str(number), f"group {number}"] for number in range(1, view.list.groups + 1)]
    fields: list[dict[str, Any]] = [
        {
            "name": "q",
            "label": "Search",
            "type": "search",
            "value": query.text,
            "wide": True,
            "placeholder": "words of a label, a finding, a promoted token, a number",
        },
        {
            "name": "concept",
            "label": "Concept",
            "type": "select",
            "value": query.concept,
            "options": [anything, *([one, parts.words(one)] for one in view.list.concepts)],
        },
        {
            "name": "polarity",
            "label": "Polarity",
            "type": "select",
            "value": query.polarity,
            "options": [anything, *([str(one), str(one)] for one in Polarity)],
        },
        {
            "name": "modality",
            "label": "Seen in",
            "type": "select",
            "value": query.modality,
            "options": [anything, *([str(one), str(one)] for one in Modality)],
        },
        {"name": "group", "label": "Group", "type": "select", "value": query.group, "options": [anything, *groups]},
        {
            "name": "score",
            "label": "AUC at least",
            "type": "number",
            "value": query.min_score,
            "min": 0,
            "max": 1,
            "step": 0.05,
        },
        {
            "name": "rate_from",
            "label": "Fires at least",
            "type": "number",
            "value": query.min_rate,
            "min": 0,
            "max": 1,
            "step": 0.001,
        },
        {
            "name": "rate_to",
            "label": "at most",
            "type": "number",
            "value": query.max_rate,
            "min": 0,
            "max": 1,
            "step": 0.001,
        },
        {
            "name": "steers",
            "label": "Steers",
            "type": "select",
            "value": query.steers,
            "options": [anything, *([one, steers[one]] for one in STEERS)],
        },
    ]
    tags = context.notes.tags()
    if tags:
        options = [anything, *([tag, f"{tag} ({len(names)})"] for tag, names in tags.items())]
        fields.append({"name": "tag", "label": "Tag or list", "type": "select", "value": query.tag, "options": options})
    if context.sense is not None:
        fields.append(
            {"name": "meaning", "label": "by meaning", "type": "checkbox", "value": "1" if query.meaning else ""}
        )
    return fields


def grid(query: FeatureQuery) -> html.Div:
    """The table; rows come from the callback of ``features-grid``."""
    columns = []
    for field, name, note, width, renderer in _COLUMNS:
        column: dict[str, Any] = {"field": field, "headerName": name, "headerTooltip": note, "width": width}
        if renderer:
            column["cellRenderer"] = renderer
        if field == query.sort and (query.sort != "id" or query.down):
            column["sort"] = "desc" if query.down else "asc"
        columns.append(column)
    columns[1]["flex"] = 1
    columns[1]["minWidth"] = 220
    table = dash_ag_grid.AgGrid(
        id="features-grid",
        columnDefs=columns,
        defaultColDef={"sortable": True, "resizable": True, "suppressMovable": True, "suppressHeaderMenuButton": True},
        rowModelType="infinite",
        dashGridOptions={
            "cacheBlockSize": ROWS_A_TIME,
            "infiniteInitialRowCount": ROWS_A_TIME,
            "maxBlocksInCache": 20,
            "rowHeight": 40,
            "enableCellTextSelection": True,
            "tooltipShowDelay": 400,
        },
        style={"height": "min(72vh, 60rem)"},
    )
    return html.Div([table, dcc.Store(id="grid-start", data=query.to_address())], className="features-grid")
