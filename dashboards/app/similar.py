"""Studies that are alike by chosen features, with the reason for each match, and cases that contradict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dashboards.app.view import RunView

MOST_FEATURES = 12
MOST_STUDIES = 12
#: Share of its largest activation from which a feature contradicts what labels say.
SPEAKS = 0.5


def strongest(view: RunView, study: int, region: int | None, image: str, cols: int) -> list[int]:
    """Features of a study to look for: those that fire most in it, or on a patch of one of its images and around it."""
    if region is None:
        rows = view.tables.ask(
            """SELECT a.feature, max(a.activation) / l.top AS share FROM activity a JOIN list l ON l.id = a.feature
            WHERE a.study = ? AND a.modality = 'image' AND l.top > 0 AND NOT l.dense
            GROUP BY a.feature, l.top ORDER BY share DESC, a.feature LIMIT ?""",
            [study, MOST_FEATURES],
        )
        return [row["feature"] for row in rows]
    rows = view.tables.ask(
        """SELECT a.feature, a.activation / l.top AS share, a.patches, a.weights FROM activity a
        JOIN list l ON l.id = a.feature
        WHERE a.study = ? AND a.image = ? AND l.top > 0 AND NOT l.dense AND list_has_any(a.patches, ?)""",
        [study, image, around(region, cols)],
    )
    near = set(around(region, cols))
    found = [(row["share"] * _most(row, near), row["feature"]) for row in rows]
    return [feature for _, feature in sorted(found, key=lambda pair: (-pair[0], pair[1]))[:MOST_FEATURES]]


def around(patch: int, cols: int) -> list[int]:
    """A patch and its eight neighbours, as far as they are on the grid to the left and right."""
    row, col = divmod(patch, max(cols, 1))
    places = [(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return [r * cols + c for r, c in places if r >= 0 and 0 <= c < cols]


def _most(row: Mapping[str, Any], near: set[int]) -> float:
    weights = [weight for patch, weight in zip(row["patches"], row["weights"], strict=True) if patch in near]
    return max(weights, default=0) / 255


def shares(view: RunView, features: Sequence[int], region: int | None, image: str, cols: int) -> list[dict[str, Any]]:
    """One row a study: who it is, its ``labels``, and ``shares`` of the features' largest activations."""
    near = "" if region is None else "AND a.image = ? AND list_has_any(a.patches, ?)"
    values: list[Any] = [list(features)] + ([] if region is None else [image, around(region, cols)])
    rows = view.tables.ask(
        f"""SELECT s.study, s.study_id, s.patient_id, s.labels, s.terms, a.feature,
            max(a.activation) / max(l.top) AS share
        FROM activity a JOIN list l ON l.id = a.feature JOIN studies s ON s.study = a.study
        WHERE list_contains(?, a.feature) AND l.top > 0 {near}
        GROUP BY ALL ORDER BY s.study""",
        values,
    )
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault(
            row["study"],
            {key: row[key] for key in ("study", "study_id", "patient_id", "labels", "terms")} | {"shares": {}},
        )
        one["shares"][row["feature"]] = row["share"]
    return list(found.values())


def ranked(
    found: Sequence[dict[str, Any]], features: Sequence[int], own: Mapping[int, float] | None
) -> list[dict[str, Any]]:
    """Studies by likeness, most alike first.

    With ``own`` (the shares of a study that others are compared with) likeness is the cosine of both vectors of
    shares; without, it is the mean share of the features.
    """
    wanted = np.array([1.0 if own is None else own.get(one, 0.0) for one in features])
    for row in found:
        vector = np.array([row["shares"].get(one, 0.0) for one in features])
        length = np.linalg.norm(vector) * np.linalg.norm(wanted)
        row["likeness"] = float(vector.mean()) if own is None else float(vector @ wanted / length) if length else 0.0
    return sorted(found, key=lambda row: (-row["likeness"], row["study"]))


def statuses(row: Mapping[str, Any]) -> dict[str, str]:
    """Findings of a study by its labels."""
    try:
        found = json.loads(row["labels"]) if isinstance(row.get("labels"), str) else {}
    except ValueError:
        return {}
    return {str(name): str(status) for name, status in found.items()} if isinstance(found, dict) else {}


def contradictions(
    row: Mapping[str, Any], known: Mapping[int, Mapping[str, Any]], mine: Mapping[str, Any] | None
) -> list[str]:
    """Why a match contradicts, in words; only features that fire strongly in it (:data:`SPEAKS`) have a say.

    Either a feature's label names a finding and the study's own labels say the opposite, which is not so in the study
    that others are compared with; or the labels of the two studies say opposite things about a finding whose feature
    fires strongly in both.

    Args:
        known: label, ``concept``, ``side`` and ``polarity`` of the features.
        mine: the row of the study that others are compared with.
    """
    shared = set(disagreements(mine, known)) if mine else set()
    found = [one for one in disagreements(row, known) if one not in shared]
    if mine is None:
        return found
    both = [one for one in known if min(row["shares"].get(one, 0), mine["shares"].get(one, 0)) >= SPEAKS]
    a, b = statuses(mine), statuses(row)
    for name in sorted({_finding(known[one]) for one in both if known[one].get("concept")}):
        if {a.get(name), b.get(name)} == {"present", "absent"}:
            found.append(f"{name.replace('_', ' ').replace(':', ', ')}: {a[name]} there, {b[name]} here")
    return found


def disagreements(row: Mapping[str, Any], known: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Findings that labels of strongly firing features name and the study's own labels deny, or the other way round."""
    own = statuses(row)
    found = []
    for feature, share in row["shares"].items():
        label = known.get(feature, {})
        status, polarity = own.get(_finding(label)), label.get("polarity")
        against = (polarity == "present" and status == "absent") or (polarity == "absent" and status == "present")
        if share >= SPEAKS and against:
            text = f"#{feature} says {label.get('concept')} {polarity}, the study’s labels say {status}"
            found.append(text.replace("_", " "))
    return found


def _finding(label: Mapping[str, Any]) -> str:
    return f"{label.get('concept')}:{label['side']}" if label.get("side") else str(label.get("concept"))
