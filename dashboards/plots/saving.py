"""Figures as files: HTML that needs no network, or SVG, PNG and PDF where kaleido and a browser are there."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go

from radiology.errors import InputError

_DRAWN = (".svg", ".png", ".pdf")


def save(figure: go.Figure, path: str | Path, *, width: int = 900, scale: float = 2.0) -> Path:
    """Write a figure; the ending of the file decides the form.

    Args:
        figure: of this package or any other of plotly.
        path: ``.html`` (one file with plotly's script in it), ``.svg``, ``.png`` or ``.pdf``.
        width: of a drawing, in pixels.
        scale: pixels of a PNG for each of these.

    Raises:
        InputError: another ending, or a drawing without kaleido (``pip install kaleido``) and a Chromium.
    """
    path = Path(path)
    if path.suffix == ".html":
        figure.write_html(path, include_plotlyjs=True, full_html=True)
        return path
    if path.suffix not in _DRAWN:
        raise InputError(f"path: {path.name!r} should end in .html, {', '.join(_DRAWN)}")
    paper = go.Figure(figure).update_layout(template="simple_white")
    try:
        paper.write_image(path, width=width, height=figure.layout.height or 400, scale=scale)
    except (ValueError, RuntimeError, ImportError) as error:
        raise InputError(
            f"{path.name}: drawing needs kaleido (`pip install kaleido`) and a Chromium; .html needs neither "
            f"({str(error).splitlines()[0][:120]})"
        ) from None
    return path
