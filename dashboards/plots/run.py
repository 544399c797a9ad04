"""Figures of a run as a whole: training, truth table, causal map, coverage, feature map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.plots.style import BLUE, GREY, ORANGE, layout, words

#: Column of ``metrics.parquet`` → colour of its curve.
TRAINING_MEASURES = {"variance_explained": BLUE, "l0": ORANGE, "dead_share": GREY}
#: Colours and shapes of concepts on the feature map (Okabe and Ito); shapes tell apart what colours may not.
CONCEPT_COLOURS = tuple(
    (colour, symbol)
    for symbol in ("circle", "diamond", "square")
    for colour in ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
)
_SCOPES = {
    "prompt.image": "image<br>tokens",
    "prompt.text": "prompt<br>text",
    "prompt.last": "last<br>token",
    "generated": "report<br>tokens",
    "all": "all<br>tokens",
}


def training_curve(metrics: pd.DataFrame, measure: str) -> go.Figure:
    """A measure of :data:`TRAINING_MEASURES` against tokens (columns of the SAE's ``metrics.parquet``)."""
    line = {"color": TRAINING_MEASURES[measure], "width": 2}
    mode = "lines" if len(metrics) > 2 else "lines+markers"  # a single row has no line
    trace = go.Scatter(x=metrics["tokens"].tolist(), y=metrics[measure].tolist(), mode=mode, line=line)
    figure = go.Figure(trace, layout=layout(210, showlegend=False))
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
    figure = go.Figure(layout=layout(90 + 24 * max(4, len(names))))
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
    figure = go.Figure(heat, layout=layout(110 + 34 * len(table)))
    figure.update_xaxes(side="top", showgrid=False, tickangle=-35 if len(table.columns) > 5 else 0)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def coverage(counts: pd.DataFrame) -> go.Figure:
    """Labelled features by concept (rows) and polarity (columns), counts in the cells, colours by their logarithm."""
    text = [[str(value) if value else "·" for value in row] for row in counts.to_numpy().tolist()]
    heat = go.Heatmap(
        z=np.log1p(counts.to_numpy(dtype=float)).tolist(), x=[words(name) for name in counts.columns],
        y=[words(name) for name in counts.index], text=text, texttemplate="%{text}", colorscale="Cividis",
        xgap=2, ygap=2, showscale=False, hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(heat, layout=layout(110 + 24 * len(counts)))
    figure.update_xaxes(side="top", showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def feature_map(points: pd.DataFrame) -> go.Figure:
    """Decoder rows in two dimensions, the commonest concepts in colours, the others in grey.

    Args:
        points: columns ``x``, ``y``, ``feature``, ``label``, ``concept`` (None where a label names none).
    """
    figure = go.Figure(layout=layout(520))
    named = points["concept"].value_counts().index[: len(CONCEPT_COLOURS)]
    rest = points[~points["concept"].isin(named)]
    groups = [("other or none", rest, GREY, "circle")]
    groups += [
        (words(name), points[points["concept"] == name], *style)
        for name, style in zip(named, CONCEPT_COLOURS, strict=False)
    ]
    for name, rows, colour, symbol in groups:
        text = [f"#{number} {words(label or '')}" for number, label in zip(rows["feature"], rows["label"], strict=True)]
        marker = {"size": 4 if colour == GREY else 7, "color": colour, "symbol": symbol, "opacity": 0.75}
        figure.add_trace(go.Scatter(x=rows["x"].tolist(), y=rows["y"].tolist(), mode="markers", name=name, text=text,
                                    hoverinfo="text", marker=marker))  # fmt: skip
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure
