"""The studies of the run as cards, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from dash import html

from dashboards.app import parts
from dashboards.app.images import image_href
from dashboards.app.parts import count, words

if TYPE_CHECKING:
    from dashboards.app.routing import Context

PER_PAGE = 48
_FIELDS = ("q", "finding", "kind")


def page(context: Context, rest: str) -> Any:
    """Studies that the address asks for."""
    view = context.view
    head = parts.page_head("Run " + view.run["name"], "Studies")
    if "studies" not in view.tables.there:
        return html.Div([head, *parts.missing_cards(view.missing("studies"))], className="stack")
    where: list[str] = ["true"]
    values: list[Any] = []
    query = {name: context.query.get(name, "") for name in _FIELDS}
    if query["q"]:
        where.append("(contains(lower(study_id), ?) OR contains(lower(patient_id), ?))")
        values += [query["q"].lower()] * 2
    if query["finding"]:
        where.append("json_extract_string(labels, ?) = 'present'")
        values.append(f'$."{query["finding"]}"')
    if query["kind"] in ("phantom", "real"):
        where.append("(terms = 'phantom') = ?")
        values.append(query["kind"] == "phantom")
    asked = context.query.get("page", "1")
    number = max(1, int(asked)) if asked.isdigit() and len(asked) < 8 else 1
    condition = " AND ".join(where)
    total = view.tables.ask(f"SELECT count(*) AS n FROM studies WHERE {condition}", values)[0]["n"]
    rows = view.tables.ask(
        f"SELECT study, study_id, patient_id, labels, terms FROM studies WHERE {condition} "
        "ORDER BY study LIMIT ? OFFSET ?",
        [*values, PER_PAGE, (number - 1) * PER_PAGE],
    )
    findings = [["", "any"], *([one, words(one)] for one in view.findings)]
    fields: list[dict[str, Any]] = [
        {"name": "q", "label": "Study or patient", "type": "search", "value": query["q"], "wide": True},
        {
            "name": "finding",
            "label": "Finding present",
            "type": "select",
            "value": query["finding"],
            "options": findings,
        },
        {
            "name": "kind",
            "label": "Kind",
            "type": "select",
            "value": query["kind"],
            "options": [["", "any"], ["phantom", "phantoms"], ["real", "real radiographs"]],
        },
    ]
    hidden = f" {count(view.shown.n_withheld)} more are hidden: credentialed." if view.shown.n_withheld else ""
    return html.Div(
        [
            head,
            parts.form(fields, go="/studies"),
            html.P(f"{count(total)} studies.{hidden}", className="muted", role="status"),
            html.Div([_card(row) for row in rows], className="study-cards"),
            _pages(number, total, query),
        ],
        className="stack",
    )


def _card(row: dict[str, Any]) -> html.A:
    kind = "phantom" if row["terms"] == "phantom" else "real radiograph"
    picture = html.Div(
        html.Img(src=image_href(row["study"], "frontal"), alt=f"Frontal view of {row['study_id']}"),
        className="radiograph",
    )
    return parts.link(
        parts.study_href(row["study_id"]),
        picture,
        html.Span(row["study_id"], className="name"),
        html.Span(kind, className="muted small"),
        kind="study-card",
    )


def _pages(number: int, total: int, query: dict[str, str]) -> html.Nav:
    last = max(1, -(-total // PER_PAGE))

    def to(page_number: int, text: str) -> html.A | None:
        asked = {name: value for name, value in query.items() if value} | {"page": page_number}
        return parts.link(f"/studies?{urlencode(asked)}", text) if 1 <= page_number <= last else None

    steps = [
        to(number - 1, "← previous") if number > 1 else None,
        html.Span(f"page {number} of {last}"),
        to(number + 1, "next →"),
    ]
    return html.Nav(parts.kept(steps), className="chips", **{"aria-label": "Pages of studies"})
