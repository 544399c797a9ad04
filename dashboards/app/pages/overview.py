"""The first page: what the run is, how far it is, and the tables and figures that sum it up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from dash import html

from dashboards.app import parts
from dashboards.app.parts import count, number, p_value, panel, percent, small
from dashboards.app.view import RunView
from dashboards.steering_page import steering_note

if TYPE_CHECKING:
    from dashboards.app.routing import Context

_CONTROLS = {
    "random": "control: random direction", "random_group": "control: random features",
    "wrong_sign": "control: wrong sign", "equal_rate": "control: feature of equal rate",
    "prompt_only": "control: asked for in the prompt",
}  # fmt: skip
_EFFECT = "Share of the difference between two reports that moves along when the residual stream is swapped there."


def page(context: Context, rest: str) -> Any:
    """Overview."""
    view = context.view
    blocks = [
        _stages(view),
        _quality(view),
        html.Div(
            parts.kept([_map(view), _truth(view), _causal(context), _coverage(view), _steering(view), _facts(view)]),
            className="grid",
        ),
    ]
    return html.Div([_head(view), *parts.kept(blocks)], className="stack")


def _head(view: RunView) -> html.Header:
    hidden = view.shown.n_withheld
    notes = [html.P(view.run["description"])]
    if view.shown.n_withheld:
        notes.append(
            parts.banner(
                f"Hidden studies: {count(hidden)}, with pictures and texts; their terms are credentialed or not known. "
                "Features, statistics and labels are shown. --with-credentialed-data shows all."
            )
        )
    elif view.with_credentialed_data and (view.data.studies is not None):
        notes.append(parts.banner("Started with --with-credentialed-data: studies of any terms are shown."))
    return parts.page_head("Run", view.run["name"], *notes)


def _stages(view: RunView) -> html.Section:
    items = []
    for stage in view.run["stages"]:
        command = html.Code(stage["command"]) if stage.get("command") else None
        inside = [html.Span(stage["title"]), html.Span(stage["note"], className="state"), command]
        items.append(html.Li(parts.kept(inside), className=f"state-{stage['state']}"))
    return panel("Pipeline", html.Ul(items, className="stages"))


def _quality(view: RunView) -> html.Section:
    found = view.summary["quality"]
    shown = [
        html.Li(
            [
                html.Span(
                    percent(one["value"]) if one["kind"] == "share" else number(one["value"], 1), className="value"
                ),
                html.Span(one["name"], className="name"),
            ],
            title=one["note"],
        )
        for one in found
    ]
    curves = [
        parts.figure(one["figure"], f"{one['name']} against training tokens")
        for one in view.summary["figures"]["training"]
    ]
    return panel(
        "The autoencoder",
        html.Ul(shown, className="figures") if shown else None,
        html.Div(curves, className="plots") if curves else None,
        *parts.missing_cards(view.missing("quality", "training")),
    )


def _map(view: RunView) -> html.Section | None:
    if view.list is None:
        cards = parts.missing_cards(view.missing("features"))
        return panel("Features", *cards, wide=True) if cards else None
    return panel(
        "Map of features",
        small(
            "Decoder rows in two dimensions; near means alike in direction, far means little. Colour and shape: "
            "concept of the label. A click opens the feature; the same features stand in the ",
            parts.link("/features", "list"),
            ".",
        ),
        parts.widget("feature-map", {"source": "/feature-map.json"}),
        wide=True,
    )


def _truth(view: RunView) -> html.Section | None:
    truth = view.summary["truth"]
    if truth is None:
        cards = parts.missing_cards(view.missing("truth"))
        return panel("Findings", *cards, wide=True) if cards else None
    heads = ["finding", "tokens", "feature", ("best feature", "num"), ("95 % interval", "num"), ("probe", "num"),
             ("random weights", "num"), "note"]  # fmt: skip
    rows = []
    for row in truth["rows"]:
        feature = row["feature"]
        named = parts.feature_link(feature) if feature == feature and feature is not None else "–"
        rows.append([
            parts.words(row["finding"]), row["tokens"], named, number(row["best"]),
            parts.interval(row["best_low"], row["best_high"]), number(row["probe"]), number(row["random"]),
            row["note"] if isinstance(row["note"], str) else "",
        ])  # fmt: skip
    figure = view.summary["figures"]["truth"]
    return panel(
        "Do features know findings?",
        html.P(truth["text"]),
        parts.figure(figure, "AUROC by finding: best feature, probe, random weights") if figure else None,
        parts.opening("The whole table", parts.table("Truth table", heads, rows)),
        wide=True,
    )


def _causal(context: Context) -> html.Section | None:
    view = context.view
    maps = view.summary["figures"]["causal"]
    if not maps:
        cards = parts.missing_cards(view.missing("causal"))
        return panel("Where the report reads what", *cards) if cards else None
    asked = context.query.get("map", "0")
    at = int(asked) if asked.isdigit() and int(asked) < len(maps) else 0
    options = [[str(place), f"{one['group']}: {parts.words(one['name'])}"] for place, one in enumerate(maps)]
    choice = {"name": "map", "label": "Map", "type": "select", "value": str(at), "options": options}
    return panel(
        "Where the report reads what",
        small(_EFFECT),
        parts.form([choice], go="/"),
        parts.figure(maps[at]["figure"], f"Causal map: {parts.words(maps[at]['name'])}"),
    )


def _coverage(view: RunView) -> html.Section | None:
    found = view.label_summary
    if found is None:
        cards = parts.missing_cards(view.missing("labels"))
        return panel("Concepts", *cards) if cards else None
    from dashboards import plots  # a figure, and the same as links for the keyboard

    counts = pd.DataFrame(found["counts"], index=found["concepts"], columns=found["polarities"])
    rows = []
    for concept, values in zip(found["concepts"], found["counts"], strict=True):
        link = concept in (view.list.concepts if view.list is not None else [])
        cells = [
            parts.link(f"/features?concept={concept}&polarity={polarity}", str(value))
            if link and value
            else str(value or "·")
            for polarity, value in zip(found["polarities"], values, strict=True)
        ]
        rows.append([parts.link(f"/features?concept={concept}", parts.words(concept)) if link else concept, *cells])
    heads = ["concept", *((name, "num") for name in found["polarities"])]
    return panel(
        "Concepts that labels name",
        html.P(found["text"]),
        parts.figure(plots.coverage(counts), "Labelled features by concept and polarity"),
        parts.opening("The same as links", parts.table("Concepts", heads, rows)),
        *parts.missing_cards(view.missing("scores")),
    )


def _steering(view: RunView) -> html.Section | None:
    rows = []
    for row in view.steering_summary:
        name = (
            parts.words(_CONTROLS.get(row["control"], row["control"]))
            if row["control"]
            else parts.words(row["condition"])
        )
        low, high = percent(row["low"]), percent(row["high"])
        rows.append(
            [
                row["experiment"],
                name,
                number(row["strength"], 1),
                percent(row["on"]),
                f"{low} to {high}" if row["low"] is not None else f"at most {high}",
                percent(row["off"]),
                count(row["n"]),
                p_value(row["p"]),
                row["verdict"] or "",
            ]
        )
    heads = ["experiment", "condition", ("strength", "num"), ("on target", "num"), ("95 % or range", "num"),
             ("off target", "num"), ("n", "num"), ("p", "num"), "verdict"]  # fmt: skip
    cards = parts.missing_cards(view.missing("steering"))
    if not rows and not cards:
        return None
    listed = parts.table("Steering beside its controls", heads, rows) if rows else None
    return panel(
        "Steering",
        listed,
        small(steering_note(view.data)) if rows else None,
        html.P(parts.link("/steering", "All experiments")) if rows else None,
        *cards,
        wide=True,
    )


def _facts(view: RunView) -> html.Section:
    return panel(
        "The run",
        parts.facts([(name, value) for name, value in view.run["facts"]]),
        *parts.missing_cards(view.missing("overview", "studies")),
    )
