"""Plotly figures from frames. No run directory, no page: the one-file export, the app and notebooks draw the same ones.

``save`` writes any of them to a file for a paper.
"""

from dashboards.plots.feature import histogram, patch_map, roc, roc_content, role_shares, scores, tokens
from dashboards.plots.run import (
    TRAINING_MEASURES,
    causal_map,
    coverage,
    feature_map,
    site_order,
    training_curve,
    truth_table,
)
from dashboards.plots.saving import save
from dashboards.plots.steering import dose_response, side_effects
from dashboards.plots.studies import timeline
from dashboards.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SAND, content, words

__all__ = [
    "training_curve", "truth_table", "causal_map", "coverage", "feature_map", "site_order", "TRAINING_MEASURES",
    "histogram", "scores", "role_shares", "tokens", "patch_map", "roc", "roc_content",
    "dose_response", "side_effects", "timeline",
    "save", "content", "words", "BLUE", "ORANGE", "GREY", "PURPLE", "GREEN", "SAND",
]  # fmt: skip
