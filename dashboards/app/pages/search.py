"""Studies that are alike by features or by a region, and why; cases that contradict stand apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dash import html

from dashboards.app import parts, similar, study_data
from dashboards.app.images import image_href
from dashboards.app.parts import count, number, panel, percent, small, words
from dashboards.data import IMAGE_NAMES

if TYPE_CHECKING:
    from dashboards.app.routing import Context

#: Studies shown, alike and contradictory each.
MOST_STUDIES = 12
_HOW = "Give feature numbers, or a study with one of its images, or a place in that image."


def page(context: Context, rest: str) -> Any:
    """What the address asks for."""
    view = context.view
    head = parts.page_head("Run " + view.run["name"], "Search for studies", small(_HOW))
    if view.list is None or not {"activity", "studies"} <= view.tables.there:
        return html.Div(
            [head, *parts.missing_cards(view.missing("features", "activity", "studies"))], className="stack"
        )
    asked, study_id = _asked(context)
    blocks: list[Any] = [head, parts.form(_fields(context, asked), go="/search", send="Search")]
    if asked.study < 0 and not asked.features:
        return html.Div([*blocks, parts.muted(f"The run shows no study {study_id!r}.") if study_id else ""],
                        className="stack")  # fmt: skip
    own = similar.own_shares(view, asked)
    blocks += _found(context, asked, own) if own else [parts.muted("No feature fires there.")]
    return html.Div(blocks, className="stack")


def _asked(context: Context) -> tuple[similar.Asked, str]:
    """What the address asks for, and the study that it names."""
    query, tables = context.query, context.view.tables
    cols = study_data.grid_of(context.view)[1]
    image = query.get("image", "") if query.get("image") in IMAGE_NAMES else IMAGE_NAMES[0]
    patch = int(query["patch"]) if query.get("patch", "").isdigit() and len(query["patch"]) < 7 else None
    names = query.get("features", "").replace(",", " ").split()
    features = tuple(dict.fromkeys(int(one) for one in names if one.isdigit() and len(one) < 9))
    study_id = query.get("study", "")
    found = tables.ask("SELECT study FROM studies WHERE study_id = ?", [study_id]) if study_id else []
    study = int(found[0]["study"]) if found and not features else -1
    return similar.Asked(features[: similar.MOST_FEATURES], study, image, patch, cols), study_id


def _fields(context: Context, asked: similar.Asked) -> list[dict[str, Any]]:
    query = context.query
    return [
        {
            "name": "features",
            "label": "Features",
            "type": "text",
            "value": query.get("features", ""),
            "placeholder": "12, 407",
        },
        {"name": "study", "label": "or like study", "type": "text", "value": query.get("study", ""), "wide": True},
        {
            "name": "image",
            "label": "by its image",
            "type": "select",
            "value": asked.image,
            "options": [[one, words(one)] for one in IMAGE_NAMES],
        },
        {
            "name": "patch",
            "label": "at patch (empty: all of it)",
            "type": "number",
            "value": asked.patch,
            "min": 0,
            "step": 1,
        },
    ]


def _found(context: Context, asked: similar.Asked, own: dict[int, float]) -> list[Any]:
    view = context.view
    assert view.list is not None
    known = view.list.short(list(own))
    nearest = similar.ranked(view, asked)[: similar.MOST_LOOKED_AT]
    rows = similar.matches(view, asked, nearest, list(own))
    mine = None if asked.features else _mine(context, asked, own)
    for row in rows:
        row["against"] = similar.contradictions(row, known, mine)
    shown, rest = rows[:MOST_STUDIES], rows[MOST_STUDIES:]
    against = [row for row in rest if row["against"]][:MOST_STUDIES]
    return [
        html.P(["Looked for: ", *_looked_for(own, known)], className="muted"),
        small(_likeness(asked)),
        panel("Similar", _cards(shown, known, own) if shown else parts.muted("None.")),
        panel(
            "Further contradictory cases: the same features fire, and the labels disagree",
            _cards(against, known, own) if against else parts.muted("None."),
        ),
    ]


def _mine(context: Context, asked: similar.Asked, own: dict[int, float]) -> dict[str, Any]:
    """The study that others are compared with, as a row like theirs."""
    rows = context.view.tables.ask("SELECT labels FROM studies WHERE study = ?", [asked.study])
    return rows[0] | {"shares": own}


def _looked_for(own: dict[int, float], known: dict[int, dict[str, Any]]) -> list[Any]:
    strongest = list(own)[: similar.MOST_FEATURES]
    listed = [
        part
        for one in strongest
        for part in (parts.feature_link(one), f" {known.get(one, {}).get('label') or 'no label'}; ")
    ]
    more = len(own) - len(strongest)
    return listed + ([f"and {count(more)} more"] if more else [])


def _likeness(asked: similar.Asked) -> str:
    if asked.features:
        by = "mean share of the features’ largest activations"
    else:
        place = "" if asked.patch is None else f" at patch {asked.patch} and around it"
        by = f"cosine of what fires in the {words(asked.image)} image{place}, each feature by its share of its largest"
    return f"Likeness: {by}. Labels are machine-written."


def _cards(rows: list[dict[str, Any]], known: dict[int, dict[str, Any]], own: dict[int, float]) -> html.Div:
    return html.Div([_card(row, known, own) for row in rows], className="match-cards")


def _card(row: dict[str, Any], known: dict[int, dict[str, Any]], own: dict[int, float]) -> html.Article:
    strongest = [(one, row["shares"][one]) for one in similar.reasons(row, own, 4)]
    reasons = [
        html.Li([parts.feature_link(one), f" {known.get(one, {}).get('label') or ''} ", html.Span(percent(share))])
        for one, share in strongest
    ]
    present = [name for name, status in similar.statuses(row).items() if status == "present" and ":" not in name]
    picture = html.Div(
        html.Img(src=image_href(row["study"], "frontal"), alt=f"Frontal view of {row['study_id']}"),
        className="radiograph",
    )
    kind = "phantom" if row["terms"] == "phantom" else "real radiograph"
    return html.Article(
        [
            parts.link(
                parts.study_href(row["study_id"], feature=strongest[0][0] if strongest else None),
                picture,
                html.Span(row["study_id"], className="name"),
            ),
            html.P(f"{kind} · likeness {number(row['likeness'])}", className="muted small"),
            html.Ul(reasons, className="plain"),
            html.Div([parts.finding_chip(one, "present") for one in present[:5]], className="chips"),
            html.Ul([html.Li(one) for one in row["against"][:3]], className="against") if row["against"] else None,
        ],
        className="match",
    )
