"""Figures of one feature: histogram, scores, token roles, promoted tokens, patch map, ROC."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.plots.style import BLUE, GREY, ORANGE, layout, plain_layout, words


def histogram(edges: Sequence[float], counts: Sequence[int]) -> go.Figure:
    """Tokens by activation; ``edges`` has one more than ``counts`` and is geometric, so the axis is logarithmic."""
    low, high = np.asarray(edges[:-1], dtype=float), np.asarray(edges[1:], dtype=float)
    middle = np.sqrt(np.maximum(low, 1e-12) * high)
    bars = go.Bar(x=middle.tolist(), y=list(counts), width=(high - low).tolist(), marker={"color": BLUE})
    figure = go.Figure(bars, layout=layout(220, showlegend=False, bargap=0))
    figure.update_xaxes(title_text="activation", type="log")
    figure.update_yaxes(title_text="tokens", type="log")
    return figure


def scores(rows: pd.DataFrame) -> go.Figure:
    """AUC of a label against each kind of negatives, with its interval, beside the labels of other features.

    Args:
        rows: columns ``negative_kind``, ``auc``, ``auc_low``, ``auc_high``, ``baseline_auc``.
    """
    names = [words(name) for name in rows["negative_kind"]]
    up, down = rows["auc_high"] - rows["auc"], rows["auc"] - rows["auc_low"]
    bars = {"type": "data", "symmetric": False, "array": up.tolist(), "arrayminus": down.tolist(), "color": BLUE}
    figure = go.Figure(layout=layout(120 + 34 * len(rows)))
    shuffled = {"color": GREY, "symbol": "line-ns-open", "size": 14}
    figure.add_trace(
        go.Scatter(
            x=rows["baseline_auc"].tolist(), y=names, mode="markers", name="labels of other features", marker=shuffled
        )
    )
    figure.add_trace(go.Scatter(x=rows["auc"].tolist(), y=names, mode="markers", name="this label", error_x=bars,
                                marker={"color": BLUE, "size": 9}))  # fmt: skip
    figure.update_xaxes(title_text="AUC", range=[0, 1.02])
    figure.add_vline(x=0.5, line={"color": GREY, "dash": "dot", "width": 1})
    return figure


def role_shares(shares: Mapping[str, float]) -> go.Figure:
    """Share of the firing tokens by token role."""
    rows = sorted(((words(name), value) for name, value in shares.items() if value), key=lambda row: row[1])
    bars = go.Bar(x=[value for _, value in rows], y=[name for name, _ in rows], orientation="h", marker={"color": BLUE})
    figure = go.Figure(bars, layout=layout(80 + 26 * max(1, len(rows)), showlegend=False))
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    return figure


def tokens(promoted: Sequence[tuple[str, float]], suppressed: Sequence[tuple[str, float]]) -> go.Figure:
    """Tokens that the feature's direction raises (right) and lowers (left) through the unembedding."""
    rows = [*reversed(promoted), *suppressed]
    colours = [BLUE if value > 0 else ORANGE for _, value in rows]
    bars = go.Bar(x=[value for _, value in rows], orientation="h", marker={"color": colours})
    figure = go.Figure(bars, layout=layout(80 + 20 * max(1, len(rows)), showlegend=False))
    figure.update_xaxes(title_text="logit lens")
    names = [words(token.strip() or "␣") for token, _ in rows]  # two tokens may read alike: places, not names
    figure.update_yaxes(tickmode="array", tickvals=list(range(len(rows))), ticktext=names)
    return figure


def patch_map(
    map_hw: np.ndarray, png: bytes | None = None, opacity: float = 0.6, scale: float | None = None
) -> go.Figure:
    """Activation of each patch, without smoothing, over a radiograph.

    Args:
        map_hw: (rows, columns) activations; patches without activation are left clear.
        png: the picture behind, as the encoder sees it.
        scale: activation of the brightest colour; the largest of the map unless given.
    """
    rows, cols = map_hw.shape
    shown = np.where(map_hw > 0, map_hw, np.nan)
    values = [[None if np.isnan(value) else float(value) for value in row] for row in shown]
    brightest = scale or float(map_hw.max(initial=0)) or 1
    heat = go.Heatmap(z=values, opacity=opacity, colorscale="Inferno", zmin=0, zmax=brightest,
                      colorbar={"title": {"text": "activation"}}, hoverongaps=False)  # fmt: skip
    figure = go.Figure(heat, layout=layout(480))
    if png:
        source = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
        figure.add_layout_image(source=source, xref="x", yref="y", x=-0.5, y=-0.5, sizex=cols, sizey=rows,
                                sizing="stretch", layer="below", yanchor="top")  # fmt: skip
    figure.update_xaxes(visible=False, range=[-0.5, cols - 0.5], constrain="domain")
    figure.update_yaxes(visible=False, range=[rows - 0.5, -0.5], scaleanchor="x", constrain="domain")
    return figure


def roc(curve: pd.DataFrame, points: pd.DataFrame) -> go.Figure:
    """ROC curve with operating points.

    Args:
        curve: columns ``fpr``, ``tpr``.
        points: columns ``name``, ``fpr``, ``tpr``.
    """
    content = roc_content(curve, points)
    return go.Figure(content["data"], layout=go.Layout(content["layout"], template="none"))


def roc_content(curve: pd.DataFrame, points: pd.DataFrame) -> dict[str, Any]:
    """:func:`roc` as JSON values ``{data, layout}``: making a figure takes plotly longer than all the rest of it."""
    line = {"color": BLUE, "width": 2, "shape": "hv"}
    data = [_scatter("lines", "ROC", curve["fpr"].tolist(), curve["tpr"].tolist(), line=line)]
    for row, symbol in zip(points.to_dict("records"), ("diamond", "square", "star"), strict=False):
        marker = {"color": ORANGE, "size": 11, "symbol": symbol, "line": {"color": "#000", "width": 1}}
        data.append(_scatter("markers", words(row["name"]), [row["fpr"]], [row["tpr"]], marker=marker))
    diagonal = {"type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "line": {"color": GREY, "dash": "dot", "width": 1}}
    axes = {
        name: {"range": [-0.02, 1.02], "title": {"text": title}}
        for name, title in (("xaxis", "1 − specificity"), ("yaxis", "sensitivity"))
    }
    return {"data": data, "layout": plain_layout(330, shapes=[diagonal], **axes)}


def _scatter(mode: str, name: str, x: list[float], y: list[float], **style: Any) -> dict[str, Any]:
    return {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y, **style}
