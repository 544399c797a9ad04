"""Blocks about one condition of a steering experiment: verdict, dose and response, side effects, reports."""

from __future__ import annotations

from typing import Any

from dash import html

from dashboards import plots
from dashboards.app import parts
from dashboards.app.parts import count, small, words
from dashboards.app.view import RunView
from dashboards.data import Experiment
from dashboards.outcomes import steered_rows

MOST_SIDE_EFFECTS = 12
_MARKS = (
    "Machine-written reports, of the first studies, not of picked ones. ",
    html.Del("Removed"),
    " and ",
    html.Ins("added"),
    " words are marked.",
)


def experiment_of(view: RunView, name: str) -> Experiment:
    return next(one for one in view.data.experiments if one.name == name)


def verdict_block(record: dict[str, Any]) -> html.Div:
    """The verdict with what decided it."""
    chip = parts.chip(record["verdict"], "present" if record["works"] else "uncertain", "✓" if record["works"] else "·")
    return html.Div([chip, html.P(record["reason"], className="muted")], className="verdict")


def record_block(view: RunView, record: dict[str, Any], with_examples: bool = True) -> html.Div:
    """Everything about a condition."""
    goal = (
        f"Goal: {words(record['key'])} → {record['goal']}, in {count(record['n'])} studies whose unsteered report "
        f"leaves room for it. {record['how']}"
    )
    together = [parts.feature_link(one) for one in record["features"]]
    spaced = [part for one in together for part in (one, " ")]
    figures = [
        parts.figure(one["figure"], f"{one['name']} against strength, with controls") for one in record["figures"]
    ]
    return html.Div(
        parts.kept(
            [
                html.H3(f"{words(record['experiment'])}: {words(record['condition'])}"),
                verdict_block(record),
                html.P([goal, " Features steered: " if together else "", *spaced], className="muted"),
                parts.widget("figure-key", record["figures"][0]["figure"]),
                html.Div(figures, className="plots"),
                side_effects_block(experiment_of(view, record["experiment"]), record["condition"]),
                *(_examples(record) if with_examples else []),
            ]
        ),
        className="stack steering-record",
    )


def _examples(record: dict[str, Any]) -> list[Any]:
    hidden = record["withheld"]
    return [
        html.H3("Reports before and after"),
        small(*_MARKS),
        parts.widget("examples", {"examples": record["examples"]})
        if record["examples"]
        else parts.muted("No reports are kept for this condition."),
        small(f"{count(hidden)} more are not shown: their studies are credentialed.") if hidden else None,
    ]


def side_effects_block(experiment: Experiment, condition: str) -> html.Details | None:
    """Other findings that changed: the experiment's own table, else what its effects count."""
    if experiment.side_effects is not None:
        own = steered_rows(experiment.side_effects, condition)
        if not len(own):
            return None
        strongest = own[own["strength"] == own["strength"].max()].nlargest(MOST_SIDE_EFFECTS, "rate")
        name = f"Side effects at strength {strongest['strength'].iloc[0]:g}"
        return parts.opening(name, parts.figure(plots.side_effects(strongest), f"{name}: other findings that changed"))
    assert experiment.effects is not None
    rows = steered_rows(experiment.effects, condition)
    listed = [
        [f"{row['strength']:g}", _counted(row["added"]), _counted(row["removed"])] for row in rows.to_dict("records")
    ]
    return parts.opening(
        "Side effects", parts.table("Other findings that changed", ["strength", "added", "removed"], listed)
    )


def _counted(text: Any) -> str:
    import json

    try:
        found = json.loads(text) if isinstance(text, str) and text else {}
    except ValueError:
        found = {}
    pairs = sorted(found.items(), key=lambda pair: -pair[1]) if isinstance(found, dict) else []
    return ", ".join(f"{words(name)} ({n})" for name, n in pairs[:8]) or "none"
