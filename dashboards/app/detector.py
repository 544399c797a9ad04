"""The panel that holds one feature against one finding of the studies."""

from __future__ import annotations

from typing import Any

import pandas as pd
from dash import html

from dashboards import plots
from dashboards.app import feature_data, parts
from dashboards.app.parts import count, number, percent, small, words
from dashboards.app.truths import SLICES
from dashboards.app.view import RunView
from dashboards.roc import LEAST, Detection, OperatingPoint, detect

_NOTE = (
    "A study is called positive if the feature’s largest activation in it reaches the threshold. Thresholds are "
    "chosen on one half of the patients; all figures are of the other half. Intervals are 95 % and take studies as "
    "independent."
)


def blocks(view: RunView, feature: int, finding: str, modality: str) -> list[Any]:
    """Curve, operating points and slices; or why there are none."""
    if "activity" not in view.tables.there or "studies" not in view.tables.there:
        return parts.missing_cards(view.missing("activity", "studies"))
    rows = feature_data.detection_rows(view, feature, finding, "text" if modality == "text" else "image")
    positive, negative = int(rows["truth"].sum()), int((~rows["truth"]).sum())
    found = detect(rows, SLICES)
    if found is None:
        text = (
            f"Not assessable: {count(positive)} studies with {words(finding)} and {count(negative)} without; "
            f"each half of the patients needs at least {LEAST} of both."
        )
        return [parts.muted(text)]
    return _shown(found, finding)


def _shown(found: Detection, finding: str) -> list[Any]:
    area, low, high = found.auc
    text = f"AUC {number(area)} ({parts.interval(low, high)}) for {words(finding)}: present against absent."
    if high < 0.5:
        text += " Below one half: it fires where the finding is absent."
    drawn = pd.DataFrame(
        [
            {"name": one.name, "fpr": 1 - one.specificity[0], "tpr": one.sensitivity[0]}
            for one in found.points
            if one.threshold > 0
        ],
        columns=["name", "fpr", "tpr"],
    )
    curve = plots.roc_content(found.curve, drawn)
    points = [_point(one) for one in found.points]
    heads = ["operating point", ("activation ≥", "num"), ("sensitivity", "num"), ("specificity", "num"),
             ("with", "num"), ("without", "num")]  # fmt: skip
    slices = [
        [
            f"{words(row['slice'])}: {row['value']}",
            number(row["auc"]),
            parts.interval(row["low"], row["high"]) or "too few",
            percent(row["sensitivity"]),
            percent(row["specificity"]),
            count(row["n_positive"]),
            count(row["n_negative"]),
        ]
        for row in found.slices.to_dict("records")
    ]
    slice_heads = ["slice", ("AUC", "num"), ("95 % interval", "num"), ("sensitivity", "num"), ("specificity", "num"),
                   ("with", "num"), ("without", "num")]  # fmt: skip
    return [
        html.P(text),
        html.Div([parts.figure(curve, f"ROC for {words(finding)}")], className="roc-figure"),
        parts.table("Operating points", heads, points),
        parts.table("Slices at the Youden threshold", slice_heads, slices)
        if slices
        else parts.muted("The studies tell no sex, view or source to slice by."),
        small(_NOTE),
    ]


def _point(one: OperatingPoint) -> list[str]:
    """A row; a threshold at which silent studies are called too is none."""
    if one.threshold <= 0:
        return [one.name, "not reached: silent in too many", "–", "–", count(one.n_positive), count(one.n_negative)]
    shares = [_share(one.sensitivity), _share(one.specificity)]
    return [one.name, number(one.threshold), *shares, count(one.n_positive), count(one.n_negative)]


def _share(value: tuple[float, float, float]) -> str:
    return f"{percent(value[0])} ({percent(value[1])} to {percent(value[2])})"
