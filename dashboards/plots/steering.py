"""Figures of steering: dose and response beside the controls, and side effects."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboards.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SAND, faint, layout, words

#: Control kind of the effects table → (name, colour, dash).
_CONTROLS = {
    "none": ("steered", BLUE, "solid"),
    "random": ("random directions (range)", GREY, "solid"),
    "random_group": ("groups of random features (range)", SAND, "longdash"),
    "wrong_sign": ("wrong sign", ORANGE, "dash"),
    "equal_rate": ("feature of equal rate", PURPLE, "dot"),
    "prompt_only": ("asked for in the prompt", GREEN, "dashdot"),
}


def dose_response(effects: pd.DataFrame, measure: str = "on_target") -> go.Figure:
    """A rate against strength, the steered condition beside its controls; without a legend (names are on the traces).

    Args:
        effects: rows of one condition in the columns of ``effects.parquet``. Random directions and groups are drawn as
            the range of their draws with the mean as a line; every other kind as a line with its interval.
        measure: ``on_target`` or ``off_target``.
    """
    figure = go.Figure(layout=layout(270, showlegend=False))
    strengths = effects["strength"]
    for control in ("random", "random_group", "prompt_only", "equal_rate", "wrong_sign", "none"):
        rows = effects[effects["control"] == control].sort_values("strength")
        if len(rows):
            drawn = control.startswith("random")
            figure.add_traces(_range(rows, measure, control) if drawn else _line(rows, measure, control, strengths))
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


def _range(rows: pd.DataFrame, measure: str, control: str) -> list[go.Scatter]:
    """Of the draws of a control: lowest to highest as a band, the mean as a line."""
    name, colour, dash = _CONTROLS[control]
    spread = rows.groupby("strength")[measure].agg(["min", "mean", "max"]).reset_index()
    x = spread["strength"].tolist()
    edge = {"width": 0, "color": colour}
    shared = {"x": x, "mode": "lines", "legendgroup": control, "hoverinfo": "skip"}
    return [
        go.Scatter(y=spread["max"].tolist(), line=edge, showlegend=False, **shared),
        go.Scatter(y=spread["min"].tolist(), line=edge, showlegend=False, fill="tonexty", fillcolor=faint(colour),
                   **shared),
        go.Scatter(x=x, y=spread["mean"].tolist(), mode="lines+markers", name=name, legendgroup=control,
                   line={"color": colour, "dash": dash, "width": 2}),
    ]  # fmt: skip


def side_effects(rows: pd.DataFrame) -> go.Figure:
    """Other findings that changed, beside the largest rate of the random directions.

    Args:
        rows: of one condition and strength: ``finding``, ``rate``, ``low``, ``high``, ``random_rate_high``.
    """
    ordered = rows.sort_values("rate")
    names = [words(name) for name in ordered["finding"]]
    up, down = ordered["high"] - ordered["rate"], ordered["rate"] - ordered["low"]
    bars = {"type": "data", "symmetric": False, "array": up.tolist(), "arrayminus": down.tolist(), "color": BLUE}
    figure = go.Figure(layout=layout(110 + 22 * max(2, len(names))))
    random = {"color": GREY, "symbol": "line-ns-open", "size": 12}
    figure.add_trace(go.Scatter(x=ordered["random_rate_high"].tolist(), y=names, mode="markers",
                                name="random directions, highest", marker=random))  # fmt: skip
    figure.add_trace(go.Scatter(x=ordered["rate"].tolist(), y=names, mode="markers", name="steered", error_x=bars,
                                marker={"color": BLUE, "size": 8}))  # fmt: skip
    figure.update_xaxes(title_text="share of studies in which it changed", tickformat=".0%", rangemode="tozero")
    return figure
