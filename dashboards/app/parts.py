"""What pages are made of: panels, tables, chips, figures, and places that the page's own scripts fill.

All text goes into Dash components as children or attributes, which the browser takes as text, never as markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import plotly.graph_objects as go
from dash import html
from dash.development.base_component import Component

from dashboards import plots
from dashboards.data import Missing
from dashboards.encoding import compact

Child = Component | str | None
SIGNS = {"present": "+", "absent": "−", "uncertain": "?", "changed": "Δ", "none": "·"}


def kept(children: Iterable[Any]) -> list[Any]:
    """Children without those that are missing."""
    return [child for child in children if child is not None and child is not False]


def panel(title: str, *children: Any, wide: bool = False, name: str | None = None) -> html.Section:
    """A section with a heading; ``wide`` takes all columns of a grid."""
    more = {"id": name} if name else {}
    return html.Section([html.H2(title), *kept(children)], className="panel wide" if wide else "panel", **more)


def muted(*children: Any) -> html.P:
    return html.P(kept(children), className="muted")


def small(*children: Any) -> html.P:
    return html.P(kept(children), className="muted small")


def link(href: str, *children: Any, kind: str = "") -> html.A:
    """A link inside the dashboard; the page's scripts follow it without loading the page anew."""
    return html.A(list(children), href=href, className=f"in {kind}".strip())


def feature_link(number: int, *more: Any) -> html.A:
    return link(f"/feature/{int(number)}", f"#{int(number)}", *more)


def study_href(study_id: str, **query: Any) -> str:
    """Address of a study's page; whatever its identifier holds, it stays one part of the path."""
    tail = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items() if value is not None)
    return f"/study/{quote(str(study_id), safe='')}" + (f"?{tail}" if tail else "")


def chip(text: str, kind: str = "", sign: str = "", title: str | None = None) -> html.Span:
    more = {"title": title} if title else {}
    children = [html.B(sign, **{"aria-hidden": "true"}), text] if sign else text
    return html.Span(children, className=f"chip {kind}".strip(), **more)


def polarity_chip(polarity: str | None) -> html.Span | None:
    """A sign and a word, so that colour is never the only carrier."""
    return None if polarity in (None, "none") else chip(str(polarity), str(polarity), SIGNS.get(str(polarity), "·"))


def finding_chip(name: str, status: str) -> html.Span:
    kind = status if status in SIGNS else "none"
    return html.Span(
        [
            html.B(SIGNS[kind], **{"aria-hidden": "true"}),
            words(name),
            html.Span(f" {status}", className="visually-hidden"),
        ],
        className=f"chip {kind}",
        title=status,
    )


def ai_chip(by: str | None) -> html.Span:
    return chip(f"machine-written label · {by or 'explainer unknown'}", "ai", title="Nobody has checked it.")


def words(name: Any) -> str:
    """``pleural_effusion:left`` → ``pleural effusion, left``."""
    return "" if name is None else str(name).replace("_", " ").replace(":", ", ")


def number(value: Any, digits: int = 2) -> str:
    known = isinstance(value, int | float) and value == value
    return f"{value:.{digits}f}".replace("-", "−") if known else "–"


def p_value(value: Any) -> str:
    """Three digits; below them a bound, since no p is zero."""
    known = isinstance(value, int | float) and value == value
    return "< 0.001" if known and value < 0.0005 else number(value, 3)


def percent(value: Any) -> str:
    if not isinstance(value, int | float) or value != value:
        return "–"
    shown = 100 * value
    return (
        "0 %"
        if shown == 0
        else "< 0.01 %"
        if 0 < shown < 0.01
        else f"{shown:.{2 if shown < 1 else 1 if shown < 10 else 0}f} %"
    )


def count(value: Any) -> str:
    return "–" if value is None or value != value else f"{int(value):,}".replace(",", "\u202f")


def interval(low: Any, high: Any, digits: int = 2) -> str:
    return "" if low is None or high is None or low != low else f"{number(low, digits)} to {number(high, digits)}"


def table(label: str, heads: Sequence[Any], rows: Iterable[Sequence[Any]]) -> html.Div:
    """A table whose first column heads its rows; a head may be (name, class of the column)."""
    named = [head if isinstance(head, tuple) else (head, "") for head in heads]
    head = html.Thead(html.Tr([html.Th(name, scope="col", className=kind or None) for name, kind in named]))
    body = [
        html.Tr([
            html.Th(cell, scope="row") if not i else html.Td(cell, className=named[i][1] or None)
            for i, cell in enumerate(row)
        ])
        for row in rows
    ]  # fmt: skip
    inside = html.Table([head, html.Tbody(body)], **{"aria-label": label})
    return html.Div(inside, className="scroll-x", tabIndex="0", role="region", **{"aria-label": label})


def facts(rows: Iterable[tuple[str, Any]]) -> html.Dl:
    return html.Dl([part for name, value in rows for part in (html.Dt(name), html.Dd(value))], className="facts")


def opening(summary: str, *children: Any) -> html.Details:
    """What a summary line opens."""
    return html.Details([html.Summary(summary), *kept(children)])


def figure(content: go.Figure | Mapping[str, Any], label: str) -> html.Div:
    """A plotly figure in the colours of the theme; ``label`` says what it shows to who does not see it."""
    plain = content if isinstance(content, Mapping) else plots.content(content)
    height = f"{plain['layout'].get('height', 320)}px"
    return widget("plot", {"figure": plain, "label": label}, style={"minHeight": height})


def widget(kind: str, content: Any, **more: Any) -> html.Div:
    """A place that the page's scripts fill with ``content`` (JSON); see ``assets/widgets.js``."""
    text = json.dumps(compact(content), ensure_ascii=False, separators=(",", ":"))
    return html.Div(className=f"widget w-{kind}", **{"data-widget": kind, "data-content": text}, **more)


def missing_card(missing: Missing) -> html.Div:
    """Says what is not in the run yet and which command makes it."""
    parts = [html.P([html.Strong(missing.what), " ", missing.why])]
    if missing.command:
        parts.append(html.P(["Make it with ", html.Code(missing.command)]))
    return html.Div(parts, className="missing", role="note")


def missing_cards(found: Iterable[Missing]) -> list[html.Div]:
    return [missing_card(one) for one in found]


def page_head(eyebrow: Any, title: str, *children: Any, aside: Any = None) -> html.Header:
    """Where the page belongs, its title, and what stands below."""
    inside = [html.P(eyebrow, className="eyebrow"), html.H1(title), *kept(children)]
    return html.Header(kept([html.Div(inside, className="title"), aside]), className="page-head")


def banner(*children: Any) -> html.Div:
    return html.Div(html.P(list(children)), className="banner", role="note")


def form(
    fields: Sequence[Mapping[str, Any]], *, store: str | None = None, go: str | None = None, send: str = ""
) -> html.Div:
    """Native fields that the page's scripts draw and read.

    Args:
        fields: each with ``name``, ``label``, ``type`` (search, text, number, checkbox, select, hidden), ``value`` and
            what the type needs (``options`` as (value, text), ``min``, ``max``, ``step``, ``list``).
        store: keep the values in this store and in the address, at every change.
        go: open this address with the values as its query instead; at every change, or with ``send`` when that button
            is pressed.
    """
    return widget("form", {"fields": list(fields), "store": store, "go": go, "send": send})
