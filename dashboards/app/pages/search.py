"""Studies that are alike by features or by a region, and why; cases that contradict stand apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dash import html

from dashboards.app import parts, similar, study_data
from dashboards.app.images import image_href
from dashboards.app.parts import number, panel, percent, small, words
from dashboards.data import IMAGE_NAMES

if TYPE_CHECKING:
    from dashboards.app.routing import Context

_HOW = (
    "Give feature numbers, or a study whose strongest features are to be found again, or a place in one of its images."
)


def page(context: Context, rest: str) -> Any:
    """What the address asks for."""
    view = context.view
    head = parts.page_head("Run " + view.run["name"], "Search for studies", small(_HOW))
    if view.list is None or not {"activity", "studies"} <= view.tables.there:
        return html.Div(
            [head, *parts.missing_cards(view.missing("features", "activity", "studies"))], className="stack"
        )
    query = context.query
    cols = study_data.grid_of(view)[1]
    image = query.get("image", "") if query.get("image") in IMAGE_NAMES else IMAGE_NAMES[0]
    patch = int(query["patch"]) if query.get("patch", "").isdigit() and len(query["patch"]) < 7 else None
    own = (
        view.tables.ask("SELECT study, study_id FROM studies WHERE study_id = ?", [query["study"]])
        if query.get("study")
        else []
    )
    features = [
        int(one) for one in query.get("features", "").replace(",", " ").split() if one.isdigit() and len(one) < 9
    ]
    if own and not features:
        features = similar.strongest(view, own[0]["study"], patch, image, cols)
    features = features[: similar.MOST_FEATURES]
    fields: list[dict[str, Any]] = [
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
            "label": "Image",
            "type": "select",
            "value": image,
            "options": [[one, words(one)] for one in IMAGE_NAMES],
        },
        {
            "name": "patch",
            "label": "Patch (empty: the whole study)",
            "type": "number",
            "value": patch,
            "min": 0,
            "step": 1,
        },
    ]
    blocks: list[Any] = [head, parts.form(fields, go="/search", send="Search")]
    if query.get("study") and not own:
        blocks.append(parts.muted(f"The run shows no study {query['study']!r}."))
    elif query.get("study") and not features:
        blocks.append(parts.muted("No feature fires there."))
    if features:
        blocks += _found(context, features, patch if own else None, image, cols, own[0]["study"] if own else None)
    return html.Div(blocks, className="stack")


def _found(
    context: Context, features: list[int], patch: int | None, image: str, cols: int, own: int | None
) -> list[Any]:
    view = context.view
    assert view.list is not None
    known = view.list.short(features)
    rows = similar.shares(view, features, patch, image, cols)
    mine = next((row for row in rows if row["study"] == own), None)
    others = similar.ranked([row for row in rows if row["study"] != own], features, mine["shares"] if mine else None)
    listed = [
        part
        for one in features
        for part in (parts.feature_link(one), f" {known.get(one, {}).get('label') or 'no label'}; ")
    ]
    for row in others:
        row["against"] = similar.contradictions(row, known, mine)
    nearest, rest = others[: similar.MOST_STUDIES], others[similar.MOST_STUDIES :]
    against = [row for row in rest if row["against"]]
    by = "cosine of the features’ shares" if mine else "mean share of the features’ largest activations"
    place = f" in a patch around {patch} of the {words(image)} image" if patch is not None else ""
    return [
        html.P(["Looked for: ", *listed], className="muted"),
        small(f"Likeness: {by}{place}. Labels are machine-written."),
        panel("Similar", _cards(nearest, known) if nearest else parts.muted("None.")),
        panel(
            "Further contradictory cases: the same features fire, and the labels disagree",
            _cards(against, known) if against else parts.muted("None."),
        ),
    ]


def _cards(rows: list[dict[str, Any]], known: dict[int, dict[str, Any]]) -> html.Div:
    return html.Div([_card(row, known) for row in rows[: similar.MOST_STUDIES]], className="match-cards")


def _card(row: dict[str, Any], known: dict[int, dict[str, Any]]) -> html.Article:
    strongest = sorted(row["shares"].items(), key=lambda pair: -pair[1])[:4]
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
                parts.study_href(row["study_id"], feature=strongest[0][0]),
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
