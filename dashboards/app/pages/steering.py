"""Steering: what experiments came to, beside their controls, and a live panel where it is switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dash import dcc, html

from dashboards.app import parts
from dashboards.app.live import KINDS, MAX_STRENGTH
from dashboards.app.parts import count, number, p_value, panel, percent, words
from dashboards.app.steering_parts import experiment_of, record_block
from dashboards.app.view import RunView
from dashboards.outcomes import arms_of

if TYPE_CHECKING:
    from dashboards.app.routing import Context

_EFFECTS = (
    ("control", "arm", ""), ("draw", "draw", "num"), ("strength", "strength", "num"), ("n", "n", "num"),
    ("on_target", "on target", "num"), ("off_target", "off target", "num"), ("parse_failures", "unreadable", "num"),
    ("repetition", "repetition", "num"), ("p_adjusted", "p adjusted", "num"),
)  # fmt: skip
#: Measures that newer experiments have besides; shown where there are any.
_LATER = (("clean", "clean"), ("excess", "beyond random"), ("radfact_f1", "RadFact F1"), ("lunguage_f1", "LUNGUAGE F1"))


_HELD_OUT = "Strengths were chosen on one half of the patients; the figures are of the other half."
_OLD = "Where a condition is called (not) beyond its controls, there are no such halves: all studies chose."
_ALL = "Of all studies, those that chose the strength included; the verdict is of the half that did not."


def page(context: Context, rest: str) -> Any:
    """All conditions with their verdicts, and one of them in full."""
    view = context.view
    records = view.steering.records
    asked = context.query.get("record", "0")
    at = int(asked) if asked.isdigit() and int(asked) < len(records) else 0
    blocks: list[Any] = [
        parts.page_head("Run " + view.run["name"], "Steering", parts.small("Reports are machine-written."))
    ]
    blocks += parts.missing_cards(view.missing("steering"))
    if records:
        blocks.append(_verdicts(view, at))
        blocks.append(panel("The condition in full", record_block(view, records[at])))
        blocks.append(_effects(view, records[at]))
    blocks.append(_live(context))
    return html.Div(blocks, className="stack")


def _verdicts(view: RunView, chosen: int) -> html.Section:
    rows, held_out = [], True
    for at, (record, found) in enumerate(zip(view.steering.records, view.outcomes, strict=True)):
        name = f"{words(found.experiment)}: {words(found.condition)}"
        shown = html.Strong(name) if at == chosen else parts.link(f"/steering?record={at}", name)
        features = [part for one in record["features"][:6] for part in (parts.feature_link(one), " ")]
        held_out = held_out and found.held_out
        rows.append(
            [
                shown,
                f"{words(found.key)} → {found.goal}",
                html.Span(features),
                found.verdict,
                number(found.strength, 1),
                percent(found.on_target),
                f"{percent(found.random)} ({percent(found.random_high)})",
                percent(found.off_target),
                count(found.n),
            ]
        )
    heads = ["condition", "goal", "features", "verdict", ("strength", "num"), ("on target", "num"),
             ("random: mean (highest)", "num"), ("off target", "num"), ("n", "num")]  # fmt: skip
    note = _HELD_OUT if held_out else f"{_HELD_OUT} {_OLD}"
    return panel("Experiments", parts.table("Conditions and verdicts", heads, rows), parts.small(note))


def _effects(view: RunView, record: dict[str, Any]) -> html.Section:
    effects = experiment_of(view, record["experiment"]).effects
    assert effects is not None
    own = arms_of(effects, record["condition"])
    columns = list(_EFFECTS)
    columns += [(name, head, "num") for name, head in _LATER if name in own.columns and own[name].notna().any()]
    rows = [[_cell(name, row[name], row) for name, _, _ in columns] for row in own.to_dict("records")]
    heads = [(head, kind) for _, head, kind in columns]
    return panel("Effects of every arm", parts.table("Effects", heads, rows), parts.small(_ALL))


def _cell(name: str, value: Any, row: dict[str, Any]) -> str:
    if name == "control":
        return "steered" if value == "none" else words(value)
    if name in ("draw", "n"):
        return count(value)
    if name in ("on_target", "off_target", "clean", "excess"):
        low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
        return percent(value) + (f" ({percent(low)} to {percent(high)})" if low is not None and low == low else "")
    if name == "parse_failures":
        return percent(value)
    return p_value(value) if name == "p_adjusted" else number(value, 1 if name == "strength" else 2)


def _live(context: Context) -> html.Section:
    title = "Steer now"
    view = context.view
    if not context.live:
        return panel(
            title,
            parts.muted("Off. Start the dashboard with ", html.Code("--live"), " to steer the run’s model from here."),
        )
    if "studies" not in view.tables.there or view.list is None:
        return panel(title, *parts.missing_cards(view.missing("studies", "features")))
    studies = view.tables.ask("SELECT study_id FROM studies ORDER BY study LIMIT 200")
    fields: list[dict[str, Any]] = [
        {
            "name": "study",
            "label": "Study",
            "type": "text",
            "value": studies[0]["study_id"] if studies else "",
            "list": [row["study_id"] for row in studies],
        },
        {
            "name": "feature",
            "label": "Feature",
            "type": "number",
            "value": context.query.get("feature", "0"),
            "min": 0,
            "step": 1,
        },
        {"name": "kind", "label": "Kind", "type": "select", "value": "add", "options": [[one, one] for one in KINDS]},
        {
            "name": "strength",
            "label": "Strength (× largest activation)",
            "type": "number",
            "value": "2",
            "min": -MAX_STRENGTH,
            "max": MAX_STRENGTH,
            "step": 0.5,
        },
    ]
    return panel(
        title,
        parts.small(
            "One report with the run’s own model, on this machine: seconds with the phantom, minutes with a large one."
        ),
        parts.form(fields, store="live-ask", send="Steer"),
        dcc.Store(id="live-ask"),
        html.Div(id="live-result", className="stack", role="status"),
    )
