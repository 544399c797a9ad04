"""Plotly figures from frames. No run directory, no page: the one-file export and a live app draw the same figures.

Colours are chosen to be told apart by colour-blind readers and to stand on a light and on a dark ground; the ground,
the grid and the type are left to whoever shows the figure.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

BLUE, ORANGE, GREY, PURPLE, GREEN, SAND = "#2f8fc4", "#dd7f0c", "#8b949c", "#b763a2", "#1f9b77", "#b59a3c"
_MARGIN = {"l": 10, "r": 10, "t": 10, "b": 10}
_ABOVE = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "xanchor": "left"}
#: Control kind of the effects table → (name, colour, dash).
_CONTROLS = {
    "none": ("steered", BLUE, "solid"),
    "random": ("random directions (range)", GREY, "solid"),
    "wrong_sign": ("wrong sign", ORANGE, "dash"),
    "equal_rate": ("feature of equal rate", PURPLE, "dot"),
    "prompt_only": ("asked for in the prompt", GREEN, "dashdot"),
}


#: Column of ``metrics.parquet`` → colour of its curve.
TRAINING_MEASURES = {"variance_explained": BLUE, "l0": ORANGE, "dead_share": GREY}
_SCOPES = {
    "prompt.image": "image<br>tokens",
    "prompt.text": "prompt<br>text",
    "prompt.last": "last<br>token",
    "generated": "report<br>tokens",
    "all": "all<br>tokens",
}


def _layout(height: int, **more: Any) -> go.Layout:
    return go.Layout(template="none", height=height, margin=_MARGIN, legend=_ABOVE, hovermode="closest", **more)


def words(name: str) -> str:
    """A key as words (``pleural_effusion:left`` → ``pleural effusion, left``), markup in it taken literally."""
    return html.escape(str(name).replace("_", " ").replace(":", ", "), quote=False)


def training_curve(metrics: pd.DataFrame, measure: str) -> go.Figure:
    """A measure of :data:`TRAINING_MEASURES` against tokens (columns of the SAE's ``metrics.parquet``)."""
    line = {"color": TRAINING_MEASURES[measure], "width": 2}
    mode = "lines" if len(metrics) > 2 else "lines+markers"  # a single row has no line
    trace = go.Scatter(x=metrics["tokens"].tolist(), y=metrics[measure].tolist(), mode=mode, line=line)
    figure = go.Figure(trace, layout=_layout(210, showlegend=False))
    figure.update_xaxes(title_text="tokens", nticks=5)
    figure.update_yaxes(title_text="L0" if measure == "l0" else words(measure), rangemode="tozero", nticks=5)
    return figure


def truth_table(rows: pd.DataFrame) -> go.Figure:
    """AUROC by finding: best single feature with its interval, linear probe, random-weight control.

    Args:
        rows: columns ``finding``, ``best``, ``best_low``, ``best_high``, ``probe``, ``random``; NaN is not drawn.
    """
    ordered = rows.sort_values("best", na_position="first")
    names = [words(name) for name in ordered["finding"]]
    series = (
        ("random", "SAE of a random-weight model", GREY, "x", 9),
        ("probe", "linear probe", ORANGE, "diamond-open", 9),
        ("best", "best single feature", BLUE, "circle", 9),
    )
    figure = go.Figure(layout=_layout(90 + 24 * max(4, len(names))))
    for key, name, colour, symbol, size in series:
        bars = _interval(ordered, "best") if key == "best" else None
        marker = {"color": colour, "symbol": symbol, "size": size}
        values = ordered[key].tolist()
        figure.add_trace(go.Scatter(x=values, y=names, mode="markers", name=name, marker=marker, error_x=bars))
    lowest = rows[["best", "best_low", "probe", "random"]].min().min()
    figure.update_xaxes(title_text="AUROC", range=[min(0.4, lowest) - 0.03, 1.02])
    figure.add_vline(x=0.5, line={"color": GREY, "dash": "dot", "width": 1})
    return figure


def _interval(rows: pd.DataFrame, key: str) -> dict[str, Any]:
    above, below = rows[f"{key}_high"] - rows[key], rows[key] - rows[f"{key}_low"]
    return {"type": "data", "symmetric": False, "array": above.tolist(), "arrayminus": below.tolist(), "color": BLUE}


def site_order(sites: Sequence[str]) -> list[str]:
    """Sites in the order in which the stream passes them: vision, projector, language; by block number."""
    rooms = {"vision": 0, "projector": 1, "language": 2}

    def place(site: str) -> tuple[int, int, str]:
        room, _, number = site.partition(".")
        return rooms.get(room, 3), int(number) if number.isdigit() else -1, site

    return sorted(set(sites), key=place)


def causal_map(cells: pd.DataFrame, across: str) -> go.Figure:
    """Effect of swapping the residual stream, site by ``across`` (a column: ``scope`` or ``key``), mean where several.

    Args:
        cells: columns ``site``, ``effect`` and ``across``.
    """
    table = cells.pivot_table(index="site", columns=across, values="effect", aggfunc="mean", dropna=False)
    table = table.reindex(site_order(table.index.tolist()))
    text = [["" if math.isnan(v) else f"{v:.2f}" for v in row] for row in table.to_numpy(dtype=float).tolist()]
    heat = go.Heatmap(
        z=table.to_numpy(dtype=float).tolist(),
        x=[_SCOPES.get(str(name), words(name)) for name in table.columns],
        y=[words(site) for site in table.index],
        text=text,
        texttemplate="%{text}",
        zmin=0,
        zmax=1,
        colorscale="Cividis",
        xgap=2,
        ygap=2,
        showscale=False,
        hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
    )
    figure = go.Figure(heat, layout=_layout(110 + 34 * len(table)))
    figure.update_xaxes(side="top", showgrid=False, tickangle=-35 if len(table.columns) > 5 else 0)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def dose_response(effects: pd.DataFrame, measure: str = "on_target") -> go.Figure:
    """A rate against strength, the steered condition beside its controls; without a legend (names are on the traces).

    Args:
        effects: rows of one condition in the columns of ``effects.parquet``. Random directions are drawn as the range
            of their draws with the mean as a line; every other kind as a line with its interval.
        measure: ``on_target`` or ``off_target``.
    """
    figure = go.Figure(layout=_layout(270, showlegend=False))
    strengths = effects["strength"]
    for control in ("random", "prompt_only", "equal_rate", "wrong_sign", "none"):
        rows = effects[effects["control"] == control].sort_values("strength")
        if len(rows):
            random = control == "random"
            figure.add_traces(_random_range(rows, measure) if random else _line(rows, measure, control, strengths))
    figure.update_xaxes(title_text="strength")
    figure.update_yaxes(title_text=f"{measure.replace('_', '-')} rate", range=[-0.03, 1.03], tickformat=".0%")
    return figure


def _line(rows: pd.DataFrame, measure: str, control: str, strengths: pd.Series) -> list[go.Scatter]:
    name, colour, dash = _CONTROLS[control]
    rows = rows.groupby("strength", as_index=False)[[measure, f"{measure}_low", f"{measure}_high"]].mean()
    x, y = rows["strength"].tolist(), rows[measure].tolist()
    if control == "prompt_only":  # it has no strength: its one value is drawn across
        return [go.Scatter(x=[strengths.min(), strengths.max()], y=[y[0], y[0]], mode="lines", name=name,
                           legendgroup=control, line={"color": colour, "dash": dash, "width": 2})]  # fmt: skip
    up, down = rows[f"{measure}_high"] - rows[measure], rows[measure] - rows[f"{measure}_low"]
    bars = {"type": "data", "symmetric": False, "array": up.tolist(), "arrayminus": down.tolist(), "thickness": 1}
    line = {"color": colour, "dash": dash, "width": 3 if control == "none" else 2}
    return [go.Scatter(x=x, y=y, mode="lines+markers", name=name, legendgroup=control, line=line, error_y=bars)]


def _random_range(rows: pd.DataFrame, measure: str) -> list[go.Scatter]:
    name, colour, _ = _CONTROLS["random"]
    spread = rows.groupby("strength")[measure].agg(["min", "mean", "max"]).reset_index()
    x = spread["strength"].tolist()
    edge = {"width": 0, "color": colour}
    shared = {"x": x, "mode": "lines", "legendgroup": "random", "hoverinfo": "skip"}
    return [
        go.Scatter(y=spread["max"].tolist(), line=edge, showlegend=False, **shared),
        go.Scatter(y=spread["min"].tolist(), line=edge, showlegend=False, fill="tonexty",
                   fillcolor="rgba(139,148,156,0.3)", **shared),
        go.Scatter(x=x, y=spread["mean"].tolist(), mode="lines+markers", name=name, legendgroup="random",
                   line={"color": colour, "width": 2}),
    ]  # fmt: skip


def content(figure: go.Figure) -> dict[str, Any]:
    """A figure as JSON values ``{data, layout}`` without the template."""
    plain = figure.to_plotly_json()
    plain["layout"].pop("template", None)
    return {"data": plain["data"], "layout": plain["layout"]}
