"""Reading ``evaluation.json``: how good the autoencoder is, and the truth table.

Used fields, all optional: ``reconstruction`` {``variance_explained``, ``l0``, ``dead_share``, ``dense_share``,
``loss_recovered``, …} and ``truth``, a list of rows {``finding``, ``tokens``, ``feature``, ``auroc``, ``low``,
``high``, ``probe``, ``random``, ``note``}, ``control`` {``reconstruction``}, ``reports`` {``ways``} and ``stability``
{``same``, ``chance_same``}; files of version 1 lack the last two. Where ``tokens`` names several token sets, the rows
of image tokens are drawn and all are listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

#: Field of ``reconstruction`` → (name, kind, explanation); kind ``share`` is shown in per cent.
_FIGURES: dict[str, tuple[str, str, str]] = {
    "variance_explained": ("variance explained", "share", "Share of the variance that the features rebuild"),
    "l0": ("features a token (L0)", "number", "Mean number of features active on a token"),
    "dead_share": ("dead features", "share", "Features that never fired on the tokens of the evaluation"),
    "dense_share": ("dense features", "share", "Features that fire on more than a tenth of the tokens"),
    "loss_recovered": ("loss recovered", "share", "Share of the model's loss that survives when the SAE stands in"),
}
_TRUTH_COLUMNS = ("finding", "tokens", "feature", "best", "best_low", "best_high", "probe", "random", "note")
_TRUTH_TEXTS = ("finding", "tokens", "note")
_RENAMED = {"auroc": "best", "low": "best_low", "high": "best_high"}
IMAGE_TOKENS = "image"


def quality_figures(evaluation: Mapping[str, Any] | None, metrics: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Numbers for the top of the page; where there is no evaluation, those of the end of training."""
    measured = (evaluation or {}).get("reconstruction")
    note = ""
    if not isinstance(measured, Mapping):
        if metrics is None or not len(metrics):
            return []
        measured, note = metrics.iloc[-1].to_dict(), " (last batch of training)"
    figures = [
        {"name": name + note, "value": measured[key], "kind": kind, "note": explanation}
        for key, (name, kind, explanation) in _FIGURES.items()
        if isinstance(measured.get(key), int | float)
    ]
    evaluation = evaluation or {}
    return [
        *figures,
        *_control_figures(evaluation.get("control")),
        *_report_figures(evaluation.get("reports")),
        *_stability_figures(evaluation.get("stability")),
    ]


def _control_figures(control: Any) -> list[dict[str, Any]]:
    measured = control.get("reconstruction") if isinstance(control, Mapping) else None
    value = measured.get("variance_explained") if isinstance(measured, Mapping) else None
    if not isinstance(value, int | float):
        return []
    explanation = "An SAE trained the same way on random weights: rebuilding well does not show meaning"
    name = "variance explained, random weights"
    return [{"name": name, "value": value, "kind": "share", "note": explanation}]


def _report_figures(reports: Any) -> list[dict[str, Any]]:
    """Findings that greedy reports keep with the SAE spliced in, beside the mean in its place."""
    ways = reports.get("ways") if isinstance(reports, Mapping) else None
    kept = {name: way.get("kept") for name, way in (ways or {}).items() if isinstance(way, Mapping)}
    if not isinstance(kept.get("sae"), int | float):
        return []
    note = "Share of the findings of greedy reports that are still there with the SAE in the residual's place"
    figures = [{"name": "findings kept in reports", "value": kept["sae"], "kind": "share", "note": note}]
    if isinstance(kept.get("ablated"), int | float):
        note = "The same with the mean of all such tokens in their place: what reports say without reading them"
        figures.append({"name": "findings kept, mean instead", "value": kept["ablated"], "kind": "share", "note": note})
    return figures


def _stability_figures(stability: Any) -> list[dict[str, Any]]:
    """Features that SAEs of other seeds have too, beside chance."""
    found = stability if isinstance(stability, Mapping) else {}
    notes = {
        "same": ("found by other seeds", "Features whose direction an SAE of another seed has too"),
        "chance_same": ("found by chance", "The same with drawn directions of equal mean and covariance"),
    }
    return [
        {"name": name, "value": found[key], "kind": "share", "note": note}
        for key, (name, note) in notes.items()
        if isinstance(found.get(key), int | float)
    ]


def truth_rows(evaluation: Mapping[str, Any] | None) -> pd.DataFrame | None:
    """The truth table: finding, tokens, feature, best (with bounds), probe, random; None without one."""
    rows = (evaluation or {}).get("truth")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) and "finding" in row for row in rows):
        return None
    frame = pd.DataFrame([{_RENAMED.get(key, key): value for key, value in row.items()} for row in rows])
    frame = frame.reindex(columns=list(_TRUTH_COLUMNS))
    frame["tokens"] = frame["tokens"].fillna(IMAGE_TOKENS).astype(str)
    numeric = [name for name in _TRUTH_COLUMNS if name not in _TRUTH_TEXTS]
    frame[numeric] = frame[numeric].apply(pd.to_numeric, errors="coerce")
    return frame


def drawn_rows(truth: pd.DataFrame) -> pd.DataFrame:
    """The rows for the figure: those of image tokens, or of the first token set if there are none."""
    first = IMAGE_TOKENS if (truth["tokens"] == IMAGE_TOKENS).any() else truth["tokens"].iloc[0]
    return truth[truth["tokens"] == first]


def truth_means(truth: pd.DataFrame) -> pd.DataFrame:
    """Mean over findings by token set: columns tokens, n, best, probe, random."""
    groups = truth[truth["best"].notna()].groupby("tokens", sort=False)
    return groups.agg(
        n=("finding", "size"), best=("best", "mean"), probe=("probe", "mean"), random=("random", "mean")
    ).reset_index()


def truth_sentence(truth: pd.DataFrame) -> str:
    """What the truth table comes to, in words."""
    rows = drawn_rows(truth)
    rows = rows[rows["best"].notna()]
    if not len(rows):
        return "No finding could be measured; the table says why."
    best, probe, control = (rows[name].mean() for name in ("best", "probe", "random"))
    tokens = rows["tokens"].iloc[0]
    parts = [f"On {tokens} tokens the best single feature reaches a mean AUROC of {best:.3f} over {len(rows)} findings"]
    if probe == probe:
        parts.append(f"a linear probe on the same activations {probe:.3f}")
    if control == control:
        parts.append(f"the best feature of an SAE trained alike on a random-weight model {control:.3f} (chance is 0.5)")
    return ", ".join(parts) + "."
