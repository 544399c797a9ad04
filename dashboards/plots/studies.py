"""Figures of studies: a patient's findings along time."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboards.plots.style import BLUE, GREY, ORANGE, layout, words

_LOOKS = {
    "present": ("present", BLUE, "circle"),
    "uncertain": ("uncertain", ORANGE, "diamond-open"),
    "absent": ("absent", GREY, "circle-open"),
}


def timeline(rows: pd.DataFrame) -> go.Figure:
    """Findings of one patient, study by study; filled is present, open is absent, a diamond is uncertain.

    Args:
        rows: columns ``study`` (name on the axis, in order of time), ``finding``, ``status``.
    """
    studies = list(dict.fromkeys(rows["study"]))
    findings = sorted(rows.loc[rows["status"] != "absent", "finding"].unique())
    figure = go.Figure(layout=layout(120 + 26 * max(2, len(findings))))
    for status, (name, colour, symbol) in _LOOKS.items():
        own = rows[(rows["status"] == status) & rows["finding"].isin(findings)]
        marker = {"color": colour, "symbol": symbol, "size": 12}
        figure.add_trace(go.Scatter(x=[words(one) for one in own["study"]], y=[words(one) for one in own["finding"]],
                                    mode="markers", name=name, marker=marker))  # fmt: skip
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=[words(one) for one in studies])
    figure.update_yaxes(categoryorder="array", categoryarray=[words(one) for one in reversed(findings)])
    return figure
