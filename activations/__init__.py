"""Opening models, watching their residual streams, and the activation store.

The names below are imported when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from activations.caching import cache_activations
    from activations.hooks import capture, rows_for
    from activations.models import open_model
    from activations.roles import IMAGE_NAMES, Role, TokenTable, parse_roles
    from activations.store import ActivationStore
    from activations.studies_table import StudyIndex
    from activations.summary import StoreSummary

_HOMES = {
    "open_model": "activations.models",
    "Role": "activations.roles",
    "TokenTable": "activations.roles",
    "IMAGE_NAMES": "activations.roles",
    "parse_roles": "activations.roles",
    "capture": "activations.hooks",
    "rows_for": "activations.hooks",
    "cache_activations": "activations.caching",
    "StoreSummary": "activations.summary",
    "ActivationStore": "activations.store",
    "StudyIndex": "activations.studies_table",
}
__all__ = [
    "open_model",
    "Role",
    "TokenTable",
    "IMAGE_NAMES",
    "parse_roles",
    "capture",
    "rows_for",
    "cache_activations",
    "StoreSummary",
    "ActivationStore",
    "StudyIndex",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'activations' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
