"""The form for notes and tags of a feature or a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dash import dcc, html

from dashboards.app import parts
from dashboards.app.parts import panel, small

if TYPE_CHECKING:
    from dashboards.app.routing import Context


def notes_panel(context: Context, kind: str, name: str) -> html.Section:
    """Note and tags, with a button that keeps them."""
    own = context.notes.of(kind, name)
    known = ", ".join(context.notes.tags(kind))
    links = [parts.link(f"/features?tag={tag}", tag, kind="chip") for tag in own["tags"]] if kind == "features" else []
    return panel(
        "Notes",
        html.Label(["Note", dcc.Textarea(id="note-text", value=own["note"], rows=3)], className="field"),
        html.Label(
            [
                "Tags and lists, separated by commas",
                dcc.Input(id="note-tags", value=", ".join(own["tags"]), type="text"),
            ],
            className="field",
        ),
        html.Div(links, className="chips") if links else None,
        small(f"In use: {known}") if known else None,
        html.Button("Keep", id="note-keep", type="button", n_clicks=0),
        html.P("", id="note-state", className="muted small", role="status"),
        dcc.Store(id="note-of", data={"kind": kind, "name": name}),
    )
