"""Augmented report review: a sentence lights features and regions, a region lists features and sentences."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dash import html

from dashboards.app import parts, study_data
from dashboards.app.notes_form import notes_panel
from dashboards.app.parts import number, panel, percent, small, words
from dashboards.study_masks import StudyMasks
from dashboards.study_page import real_banner, report_by

if TYPE_CHECKING:
    from dashboards.app.routing import Context

_HOW = (
    "Choose a sentence to light the features and image regions behind it; choose a place in an image to list the "
    "features that fire there and the sentences they belong to. A feature behind a sentence is a hint at what "
    "the model uses, not a proof."
)


def page(context: Context, rest: str) -> Any:
    """The page of the study that the address names."""
    view = context.view
    row = study_data.study_row(view, rest)
    if row is None:
        cards = parts.missing_cards(view.missing("studies"))
        hidden = " Studies of credentialed sources are hidden." if view.shown.n_withheld else ""
        note = html.P([f"The run shows no study {rest!r}.{hidden} ", parts.link("/studies", "All studies")])
        return html.Div([html.H1("No such study"), *(cards or [note])], className="stack")
    features = study_data.features_of(view, row["study"])
    sentences = study_data.sentences_of(context, row)
    content = _content(context, row, features, sentences)
    banner = real_banner(view.data, row)
    blocks = [
        _head(row),
        parts.banner(banner) if banner else None,
        *parts.missing_cards(view.missing("activity")),
        small(_HOW) if features else None,
        parts.widget("study", content),
        html.Div(
            parts.kept(
                [
                    _unsaid(features, sentences),
                    _prompt(row),
                    _labels(row),
                    notes_panel(context, "studies", row["study_id"]),
                ]
            ),
            className="grid",
        ),
    ]
    return html.Article(parts.kept(blocks), className="stack")


def _head(row: dict[str, Any]) -> html.Header:
    patient = parts.link(f"/history/{quote(str(row['patient_id']), safe='')}", f"patient {row['patient_id']}")
    kind = (
        parts.chip("phantom: synthetic pictures", "ai")
        if row["terms"] == "phantom"
        else parts.chip("real radiograph", "changed")
    )
    similar = parts.link(f"/search?study={quote(str(row['study_id']), safe='')}", "similar studies")
    return parts.page_head(
        [parts.link("/studies", "Studies"), " / ", patient],
        str(row["study_id"]),
        html.Div(
            [kind, parts.chip(f"{row['source'] or row['terms']}"), parts.chip(f"split {row['split']}")],
            className="chips",
        ),
        aside=html.Nav([similar], className="chips", **{"aria-label": "Further"}),
    )


def _content(
    context: Context, row: dict[str, Any], features: list[dict[str, Any]], sentences: list[dict[str, Any]]
) -> dict[str, Any]:
    grid = study_data.grid_of(context.view) if context.view.list is not None else (0, 0)
    images, masks = study_data.images_of(context.view, row["study"]), StudyMasks(row["masks"])
    phantom_only = row["terms"] != "phantom" and context.view.data.model_is_phantom
    return {
        "id": row["study_id"],
        "rows": grid[0],
        "cols": grid[1],
        "images": images,
        "masks": masks.content(one["name"] for one in images),
        "real": phantom_only,
        "by": report_by(row),
        "machine": str(row["report_source"] or "").startswith(("gener", "model")),
        "sentences": [one | {"masks": study_data.masks_behind(masks, one)} for one in sentences],
        "links": study_data.link_sentences(sentences, features),
        "features": study_data.with_masks(masks, features, grid),
        "start": {key: context.query.get(key) for key in ("sentence", "finding", "feature")},
    }


def _unsaid(features: list[dict[str, Any]], sentences: list[dict[str, Any]]) -> html.Section | None:
    if not features:
        return None
    rows = []
    for one in study_data.unsaid(features, sentences):
        shown = [
            part
            for two in one["features"][:4]
            for part in (
                parts.feature_link(two["id"]),
                f" {two['label']} ({percent(two['share'])} of its largest, AUC {number(two['score'])}); ",
            )
        ]
        rows.append([words(one["finding"]), one["report"], html.Span(shown)])
    without = study_data.unbacked(features, sentences)
    said = parts.table(
        "Findings of features that the report does not affirm", ["finding", "the report", "features"], rows
    )
    return panel(
        "What the features say that the report does not",
        said
        if rows
        else parts.muted("Nothing: no image feature speaks for a finding that the report does not affirm."),
        html.P(
            [
                "The other way round, the report affirms without an image feature of that name: ",
                ", ".join(words(one) for one in without),
                ".",
            ]
        )
        if without
        else None,
        small("By machine-written labels. A prompt to look again, not a finding."),
        wide=True,
    )


def _prompt(row: dict[str, Any]) -> html.Section | None:
    texts = study_data.texts_of(row)
    return (
        panel(
            "What the model read besides",
            *[part for name, text in texts for part in (html.H3(words(name)), html.P(text, className="report"))],
        )
        if texts
        else None
    )


def _labels(row: dict[str, Any]) -> html.Section | None:
    try:
        labels = json.loads(row["labels"]) if isinstance(row["labels"], str) else {}
    except ValueError:
        labels = {}
    details = _details(row)
    if not labels and not details:
        return None
    order = {"present": 0, "uncertain": 1}
    chips = [
        parts.finding_chip(name, str(status))
        for name, status in sorted(labels.items(), key=lambda pair: (order.get(pair[1], 2), pair[0]))
    ]
    return panel("Labels of the source", html.Div(chips, className="chips"), parts.facts(details))


def _details(row: dict[str, Any]) -> list[tuple[str, str]]:
    try:
        found = json.loads(row["metadata"]) if isinstance(row["metadata"], str) else {}
    except ValueError:
        found = {}
    return (
        [(words(name), str(value)) for name, value in found.items() if value is not None]
        if isinstance(found, dict)
        else []
    )
