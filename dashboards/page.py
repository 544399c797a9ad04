"""The HTML around the data: one file, its own style and scripts, and a policy that forbids the browser any network."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from plotly.offline import get_plotlyjs

from dashboards.encoding import pack_text

ASSETS = Path(__file__).parent / "assets"
STYLES = (
    "theme.css", "frame.css", "elements.css", "overview.css", "list.css", "pages.css", "heat.css", "narrow.css",
)  # fmt: skip
#: In the order in which they build on each other.
SCRIPTS = (
    "dom.js", "store.js", "format.js", "colours.js", "diff.js", "charts.js", "heat.js", "masks.js", "arms.js",
    "plotly_packed.js", "figures.js", "virtual_list.js", "view_overview.js", "view_features.js", "view_contexts.js",
    "view_steering.js", "view_feature.js", "view_studies.js", "view_study.js", "app.js",
)  # fmt: skip


@cache
def style() -> str:
    """The style sheets as one text."""
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in STYLES)


@cache
def script() -> str:
    """The scripts as one function that leaves nothing in the global scope."""
    parts = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'


@cache
def plotly_script() -> str:
    """Plotly's own minified bundle."""
    return str(get_plotlyjs())


@cache
def packed_plotly() -> str:
    """The bundle as a data block."""
    return pack_text(plotly_script())


def _source_hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") + "'"


def _policy() -> str:
    """Only the two known scripts run, and nothing is fetched from anywhere."""
    scripts = f"script-src {_source_hash(script())} {_source_hash(plotly_script())}"
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; {scripts}; {rest}"


def data_block(name: str, text: str) -> str:
    """A block of data that the scripts open by its name; ``text`` is base64, or JSON of base64 and image names."""
    return f'<script type="application/octet-stream" id="{html.escape(name)}">{text}</script>\n'


def head(title: str) -> str:
    """Everything before the data blocks. ``title`` is any text."""
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{html.escape(title)} · interp</title>
<style>
{style()}</style>
</head>
<body>
<button type="button" class="skip" id="skip">Skip to the content</button>
<header class="masthead"><div>
<a class="brand" href="#overview">interp <span id="run-name"></span></a>
<nav aria-label="Pages">
<a href="#overview">Overview</a><a href="#features">Features</a><a href="#studies">Studies</a>
</nav>
<span class="spacer"></span>
<button type="button" id="theme">Dark</button>
</div></header>
<aside class="ribbon" aria-label="Terms of use"><p id="ribbon">Research use only; not for diagnosis.</p></aside>
<main id="main" tabindex="-1" data-state="opening"><p class="muted">Opening …</p>
<noscript><p>This page draws itself with the script inside this file; please allow scripts for it.</p></noscript></main>
<footer><p>Research use only. <span id="built"></span></p></footer>
"""


def tail() -> str:
    """The scripts, after the data blocks."""
    return f"<script>{script()}</script>\n</body>\n</html>\n"


def assemble(title: str, blocks: Iterable[tuple[str, str]]) -> str:
    """The whole page from its data blocks (name, text)."""
    return head(title) + "".join(data_block(name, text) for name, text in blocks) + tail()
