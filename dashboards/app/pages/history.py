"""A patient's studies in order of time: findings and features along them, and what changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd
from dash import html

from dashboards import plots
from dashboards.app import parts, similar, study_data
from dashboards.app.images import image_href
from dashboards.app.parts import count, panel, percent, small, words

if TYPE_CHECKING:
    from dashboards.app.routing import Context
    from dashboards.app.view import RunView

_TIMES = ("study_time", "study_date", "date", "time")
MOST_PATIENTS = 60
TOP = 6


def page(context: Context, rest: str) -> Any:
    """The patient that the address names, or a list of patients to choose from."""
    view = context.view
    if "studies" not in view.tables.there:
        return html.Div([html.H1("History"), *parts.missing_cards(view.missing("studies"))], className="stack")
    if not rest:
        return _patients(context)
    rows = view.tables.ask(
        "SELECT s.*, d.metadata FROM studies s LEFT JOIN details d ON d.study = s.study "
        "WHERE s.patient_id = ? ORDER BY s.study",
        [rest],
    )
    if not rows:
        return html.Div(
            [
                html.H1("No such patient"),
                html.P([f"The run shows no patient {rest!r}. ", parts.link("/history", "All patients")]),
            ]
        )
    timed, rows = _in_time(rows)
    points = _points(view, rows)
    order = "in order of time" if timed else "in the order of the run; the source tells no times"
    phantom = " (phantom)" if all(row["terms"] == "phantom" for row in rows) else ""
    head = parts.page_head(
        parts.link("/history", "History"),
        f"Patient {rest}",
        parts.small(
            f"{count(len(rows))} studies{phantom}, {order}. An earlier picture that came along counts as a point."
        ),
    )
    figure = _figure(context, points)
    return html.Article(
        [head, figure, html.Ol([_item(context, points, at) for at in range(len(points))], className="timeline")],
        className="stack",
    )


def _patients(context: Context) -> html.Div:
    query = context.query.get("q", "")
    rows = context.view.tables.ask(
        """SELECT patient_id, count(*) AS n, count(*) FILTER (p.preview_prior_frontal IS NOT NULL) AS priors
        FROM studies s LEFT JOIN pictures p ON p.study = s.study WHERE contains(lower(patient_id), ?)
        GROUP BY patient_id ORDER BY n + priors DESC, patient_id LIMIT ?""",
        [query.lower(), MOST_PATIENTS],
    )
    listed = [
        [
            parts.link(f"/history/{quote(str(row['patient_id']), safe='')}", str(row["patient_id"])),
            count(row["n"]),
            count(row["priors"]),
        ]
        for row in rows
    ]
    return html.Div(
        [
            parts.page_head("Run " + context.view.run["name"], "History"),
            parts.form(
                [{"name": "q", "label": "Patient", "type": "search", "value": query, "wide": True}], go="/history"
            ),
            parts.table("Patients", ["patient", ("studies", "num"), ("with an earlier picture", "num")], listed),
            small(f"At most {MOST_PATIENTS} are listed, those with most to compare first."),
        ],
        className="stack",
    )


def _in_time(rows: list[dict[str, Any]]) -> tuple[bool, list[dict[str, Any]]]:
    times = [_time_of(row) for row in rows]
    if any(time is None for time in times):
        return False, rows
    order = sorted(range(len(rows)), key=lambda at: (str(times[at]), rows[at]["study"]))
    return True, [rows[at] for at in order]


def _time_of(row: dict[str, Any]) -> str | None:
    try:
        found = json.loads(row["metadata"]) if isinstance(row["metadata"], str) else {}
    except ValueError:
        return None
    return next((str(found[name]) for name in _TIMES if found.get(name)), None) if isinstance(found, dict) else None


def _points(view: RunView, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points in time: each study, and before the first one the earlier picture that came with it."""
    points = []
    for at, row in enumerate(rows):
        images = [one["name"] for one in study_data.images_of(view, row["study"])]
        frame = view.data.studies
        assert frame is not None
        prior = frame.loc[row["study"], "prior_report"]
        if at == 0 and ("prior_frontal" in images or isinstance(prior, str)):
            text = prior if isinstance(prior, str) else None
            points.append(
                {
                    "row": row,
                    "name": f"before {row['study_id']}",
                    "image": "prior_frontal" if "prior_frontal" in images else None,
                    "prior": True,
                    "text": text,
                }
            )
        points.append(
            {
                "row": row,
                "name": row["study_id"],
                "image": "frontal" if "frontal" in images else None,
                "prior": False,
                "text": frame.loc[row["study"], "report"],
            }
        )
    return points


def _findings(context: Context, point: dict[str, Any]) -> dict[str, str]:
    """Findings at a point: the labels of the study; of an earlier report what can be read from it."""
    if not point["prior"]:
        return similar.statuses(point["row"])
    read = context.helpers.read_findings
    told = list(read(point["text"])) if read is not None and isinstance(point["text"], str) else []
    pairs = [one.partition("=") for one in told]
    return {name: status for name, _, status in pairs if status in ("present", "absent", "uncertain")}


def _figure(context: Context, points: list[dict[str, Any]]) -> html.Section | None:
    rows = [
        {"study": point["name"], "finding": name, "status": status}
        for point in points
        for name, status in _findings(context, point).items()
    ]
    if not any(row["status"] != "absent" for row in rows):
        return None
    return panel(
        "Findings along the studies",
        parts.figure(plots.timeline(pd.DataFrame(rows)), "Findings by study: filled is present, open is absent"),
    )


def _item(context: Context, points: list[dict[str, Any]], at: int) -> html.Li:
    point = points[at]
    now = _findings(context, point)
    before = _findings(context, points[at - 1]) if at else {}
    href = parts.study_href(point["row"]["study_id"])
    picture = (
        html.Div(
            html.Img(src=image_href(point["row"]["study"], point["image"]), alt=f"{words(point['image'])} image"),
            className="radiograph",
        )
        if point["image"]
        else None
    )
    present = [name for name, status in now.items() if status in ("present", "uncertain")]
    chips = [
        parts.link(parts.study_href(point["row"]["study_id"], finding=name), parts.finding_chip(name, now[name]))
        for name in present
    ]
    return html.Li(
        parts.kept(
            [
                html.H2(parts.link(href, point["name"])),
                parts.link(href, picture) if picture is not None else None,
                html.Div(
                    parts.kept(
                        [
                            _changes(before, now, href) if before and now else None,
                            html.H3("Findings"),
                            html.Div(chips, className="chips") if chips else parts.muted("None told."),
                            *_features(context.view, point),
                            html.P(point["text"], className="report") if isinstance(point["text"], str) else None,
                        ]
                    )
                ),
            ]
        )
    )


def _changes(before: dict[str, str], now: dict[str, str], href: str) -> html.Div:
    """Findings that came, went, or were not told before."""
    chips = []
    for name in sorted({*before, *now}):
        was, is_now = before.get(name), now.get(name)
        if was == "absent" and is_now == "present":
            chips.append(parts.link(f"{href}?finding={quote(name)}", parts.chip(f"new: {words(name)}", "changed", "Δ")))
        elif was == "present" and is_now == "absent":
            chips.append(parts.link(href, parts.chip(f"resolved: {words(name)}", "changed", "Δ")))
        elif was is None and is_now == "present":
            told = parts.chip(f"not told before: {words(name)}", "uncertain", "?")
            chips.append(parts.link(f"{href}?finding={quote(name)}", told))
    return html.Div([html.H3("Changed since the one before"), html.Div(chips or "nothing", className="chips")])


def _features(view: RunView, point: dict[str, Any]) -> list[Any]:
    if "activity" not in view.tables.there or view.list is None or not point["image"]:
        return []
    rows = view.tables.ask(
        """SELECT a.feature, a.activation / l.top AS share, l.label FROM activity a JOIN list l ON l.id = a.feature
        WHERE a.study = ? AND a.image = ? AND l.top > 0 AND NOT l.dense AND l.concept IS NOT NULL
        ORDER BY share DESC, a.feature LIMIT ?""",
        [point["row"]["study"], point["image"], TOP],
    )
    if not rows:
        return []
    items = [
        html.Li([parts.feature_link(row["feature"]), f" {row['label']} ", html.Span(percent(row["share"]))])
        for row in rows
    ]
    return [html.H3("Features in the image"), html.Ul(items, className="plain")]
