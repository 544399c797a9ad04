"""What stands around every page, and the HTML that carries the app."""

from __future__ import annotations

import hashlib
import html as markup
from functools import cache
from pathlib import Path
from typing import Any

from dash import dcc, html
from flask import Flask, Response
from plotly import __version__ as plotly_version

from dashboards.page import plotly_script

_SHARED = Path(__file__).parents[1] / "assets"
_OWN = Path(__file__).parent / "assets"
#: In the order in which they build on each other; the first ones belong to the one-file export too.
SCRIPTS = (
    _SHARED / "dom.js", _SHARED / "format.js", _SHARED / "colours.js", _SHARED / "diff.js", _SHARED / "charts.js",
    _SHARED / "heat.js", _SHARED / "masks.js", _SHARED / "arms.js", _OWN / "plotly_served.js", _SHARED / "figures.js",
    _OWN / "widgets.js", _OWN / "forms.js", _OWN / "contexts.js", _OWN / "study.js",
    _OWN / "compare.js", _OWN / "feature_map.js", _OWN / "grid.js", _OWN / "shell.js",
)  # fmt: skip
STYLES = (
    *(_SHARED / f"{name}.css" for name in ("theme", "frame", "elements", "overview", "pages", "heat", "narrow")),
    _OWN / "app.css",
)
PAGES = (
    ("/", "Overview"),
    ("/features", "Features"),
    ("/studies", "Studies"),
    ("/steering", "Steering"),
    ("/search", "Search"),
    ("/history", "History"),
)
RESEARCH = "Research use only; not for diagnosis."


@cache
def script() -> str:
    """The scripts as one function that leaves in the global scope only what Dash's own parts ask for."""
    parts = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'


@cache
def style() -> str:
    """The style sheets as one text."""
    return "\n".join(path.read_text(encoding="utf-8") for path in STYLES)


def index_string(run_name: str) -> str:
    """The page that starts the app; ``run_name`` is any text."""
    name = markup.escape(run_name).replace("{%", "{ %")
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
{{%metas%}}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="run" content="{name}">
<meta name="plotly" content="/plotly.js?v={plotly_version}">
<link rel="icon" href="data:,">
<title>{name} · interp</title>
{{%css%}}
<link rel="stylesheet" href="/app.css?v={_version(style())}">
</head>
<body>
<noscript><p>This dashboard draws itself with its own scripts; please allow them for this address.</p></noscript>
{{%app_entry%}}
<footer><p>{RESEARCH} Labels and generated reports are machine-written.</p></footer>
{{%config%}}
<script src="/app.js?v={_version(script())}"></script>
{{%scripts%}}
{{%renderer%}}
</body>
</html>
"""


def _version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def add_bundles(server: Flask) -> None:
    """Routes of the scripts and the style."""

    def bundle(text: str, kind: str) -> Response:
        return Response(text, content_type=f"{kind}; charset=utf-8", headers={"Cache-Control": "max-age=31536000"})

    server.add_url_rule("/app.js", "app_js", lambda: bundle(script(), "text/javascript"))
    server.add_url_rule("/plotly.js", "plotly_js", lambda: bundle(plotly_script(), "text/javascript"))
    server.add_url_rule("/app.css", "app_css", lambda: bundle(style(), "text/css"))


def frame(run_name: str) -> html.Div:
    """Head, ribbon and the place of the page."""
    pages = [html.A(name, href=href, className="in") for href, name in PAGES]
    head = html.Div(
        [
            html.A(["interp ", html.Span(run_name)], href="/", className="brand in"),
            html.Nav(pages, **{"aria-label": "Pages"}),
            html.Span(className="spacer"),
            html.Button("Dark", id="theme", type="button"),
        ]
    )
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="features-query"),
            dcc.Store(id="saved"),
            html.Button("Skip to the content", id="skip", className="skip", type="button"),
            html.Header(head, className="masthead"),
            html.Aside(html.P(RESEARCH, id="ribbon"), className="ribbon", **{"aria-label": "Terms of use"}),
            html.Main(html.P("Opening …", className="muted"), id="page", tabIndex="-1"),
        ]
    )


def problem_page(title: str, *children: Any) -> html.Div:
    """A page that says what cannot be shown."""
    return html.Div([html.H1(title), *children], className="stack")
