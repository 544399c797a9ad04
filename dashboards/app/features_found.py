"""What a query of the feature list finds, with tags and search by meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboards.app.listing import FeatureQuery

if TYPE_CHECKING:
    from dashboards.app.routing import Context


def find(context: Context, query: FeatureQuery, start: int, stop: int) -> tuple[list[dict[str, Any]], int]:
    """Rows and number of what is found; nothing without a feature table."""
    features = context.view.list
    if features is None:
        return [], 0
    ids: list[int] | None = None
    if query.meaning and query.text and context.sense is not None:
        ids = context.sense.nearest(features, query.text)
    if query.tag:
        tagged = {int(name) for name in context.notes.tags().get(query.tag, []) if name.isdigit()}
        ids = sorted(tagged) if ids is None else [one for one in ids if one in tagged]
    return features.rows(query, start, stop, ids)
