"""What all figures share: colours, layout, and names as words.

Colours are chosen to be told apart by colour-blind readers and to stand on a light and on a dark ground; the ground,
the grid and the type are left to whoever shows the figure.
"""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go

BLUE, ORANGE, GREY, PURPLE, GREEN, SAND = "#2f8fc4", "#dd7f0c", "#8b949c", "#b763a2", "#1f9b77", "#b59a3c"
_MARGIN = {"l": 10, "r": 10, "t": 10, "b": 10}
_ABOVE = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "xanchor": "left"}


def layout(height: int, **more: Any) -> go.Layout:
    """Plain layout of a height in pixels."""
    return go.Layout(**plain_layout(height, **more), template="none")


def plain_layout(height: int, **more: Any) -> dict[str, Any]:
    """:func:`layout` as JSON values without the template."""
    return {"height": height, "margin": _MARGIN, "legend": _ABOVE, "hovermode": "closest", **more}


def faint(colour: str, opacity: float = 0.3) -> str:
    """A ``#rrggbb`` colour that lets what is behind it through."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def words(name: str) -> str:
    """A key as words (``pleural_effusion:left`` → ``pleural effusion, left``), markup in it taken literally."""
    return html.escape(str(name).replace("_", " ").replace(":", ", "), quote=False)


def content(figure: go.Figure) -> dict[str, Any]:
    """A figure as JSON values ``{data, layout}`` without the template."""
    plain = figure.to_plotly_json()
    plain["layout"].pop("template", None)
    return {"data": plain["data"], "layout": plain["layout"]}
