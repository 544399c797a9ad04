"""What SAE features mean: the feature table and its contexts, labels with polarity, and scores of labels.

Names are loaded on first use, so that importing the package costs nothing. The tables are described in
:mod:`autointerp.schema` and in ``docs/feature-table.md``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autointerp.explain import explain_features
    from autointerp.explainers.contrast import ContrastExplainer
    from autointerp.explainers.llm import LLMExplainer
    from autointerp.index import index_features
    from autointerp.score import score_features
    from autointerp.table import Feature, FeatureTable, read_features
    from radiology.llm.endpoint import Endpoint

_HOME = {
    "ContrastExplainer": "autointerp.explainers.contrast",
    "Endpoint": "radiology.llm.endpoint",
    "Feature": "autointerp.table",
    "FeatureTable": "autointerp.table",
    "LLMExplainer": "autointerp.explainers.llm",
    "explain_features": "autointerp.explain",
    "index_features": "autointerp.index",
    "read_features": "autointerp.table",
    "score_features": "autointerp.score",
}

__all__ = [
    "ContrastExplainer",
    "Endpoint",
    "Feature",
    "FeatureTable",
    "LLMExplainer",
    "explain_features",
    "index_features",
    "read_features",
    "score_features",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'autointerp' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
