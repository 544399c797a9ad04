"""Studies that are alike by chosen features, by an image of a study, or by a place in it, and cases that contradict.

A feature's *share* in an image is its activation there, of its largest anywhere. Images are alike by the cosine of
their shares of all features; at a place, of the shares at a patch and the eight around it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dashboards.app.view import RunView

#: Features that a reader may choose.
MOST_FEATURES = 12
#: Of the nearest studies so many are looked at for contradictions.
MOST_LOOKED_AT = 200
#: Share of its largest activation from which a feature contradicts what labels say.
SPEAKS = 0.5

_ANYWHERE = """SELECT a.study, a.feature, max(a.activation) / max(l.top) AS share
    FROM activity a JOIN list l ON l.id = a.feature
    WHERE list_contains($features, a.feature) AND l.top > 0 GROUP BY a.study, a.feature"""
_IMAGE = """SELECT a.study, a.feature, max(a.activation) / max(l.top) AS share
    FROM activity a JOIN list l ON l.id = a.feature
    WHERE a.image = $image AND l.top > 0 GROUP BY a.study, a.feature"""
_PLACE = """SELECT a.study, a.feature, max(a.activation / l.top * list_max(list_transform(
        list_zip(a.patches, a.weights), lambda one: if(list_contains($near, one[1]), one[2], 0))) / 255) AS share
    FROM activity a JOIN list l ON l.id = a.feature
    WHERE a.image = $image AND l.top > 0 AND list_has_any(a.patches, $near)
    GROUP BY a.study, a.feature"""


@dataclass(frozen=True)
class Asked:
    """What studies are asked for: those in which ``features`` fire, or those like ``study``.

    Attributes:
        features: numbers of features; with them nothing else counts.
        study: number of a study, compared by its ``image``, and there at ``patch`` if that is given.
        cols: columns of the patch grid.
    """

    features: tuple[int, ...] = ()
    study: int = -1
    image: str = "frontal"
    patch: int | None = None
    cols: int = 1

    def shares(self) -> tuple[str, dict[str, Any]]:
        """Question for (study, feature, share), and its values."""
        if self.features:
            return _ANYWHERE, {"features": list(self.features)}
        if self.patch is None:
            return _IMAGE, {"image": self.image}
        return _PLACE, {"image": self.image, "near": around(self.patch, self.cols)}


def around(patch: int, cols: int) -> list[int]:
    """A patch and its eight neighbours, as far as they are on the grid to the left and right."""
    row, col = divmod(patch, max(cols, 1))
    places = [(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return [r * cols + c for r, c in places if r >= 0 and 0 <= c < cols]


def own_shares(view: RunView, asked: Asked) -> dict[int, float]:
    """Feature → share that others are compared with, the largest first; 1 of each chosen feature."""
    if asked.features:
        return dict.fromkeys(asked.features, 1.0)
    shares, values = asked.shares()
    sql = f"SELECT feature, share FROM ({shares}) WHERE study = $study AND share > 0 ORDER BY share DESC, feature"
    return {row["feature"]: row["share"] for row in view.tables.ask(sql, values | {"study": asked.study})}


def ranked(view: RunView, asked: Asked) -> list[tuple[int, float]]:
    """(study, likeness) of all shown studies in which something fires there, most alike first, without the asked one.

    Likeness is the mean share of chosen features; else the cosine of the shares.
    """
    shares, values = asked.shares()
    if asked.features:
        likeness = f"sum(s.share) / {len(asked.features)}"
        own = "SELECT NULL::INT AS feature, NULL::DOUBLE AS share"
    else:
        likeness = "coalesce(sum(s.share * own.share), 0) / sqrt(sum(s.share * s.share))"
        own = "SELECT feature, share / sqrt(sum(share * share) OVER ()) AS share FROM shares WHERE study = $study"
    sql = f"""WITH shares AS MATERIALIZED ({shares}), own AS ({own})
        SELECT s.study, {likeness} AS likeness FROM shares s
        SEMI JOIN studies t ON t.study = s.study LEFT JOIN own ON own.feature = s.feature
        WHERE s.share > 0 GROUP BY s.study ORDER BY likeness DESC, s.study"""
    rows = view.tables.ask(sql, values if asked.features else values | {"study": asked.study})
    return [(row["study"], row["likeness"]) for row in rows if row["study"] != asked.study]


def matches(view: RunView, asked: Asked, found: Sequence[tuple[int, float]], features: Sequence[int]) -> list[Any]:
    """One row a found study, in their order: who it is, its ``labels``, ``likeness``, and ``shares`` of features."""
    shares, values = asked.shares()
    rows = view.tables.ask(
        f"SELECT study, feature, share FROM ({shares}) WHERE list_contains($studies, study) "
        "AND list_contains($shown, feature)",
        values | {"studies": [study for study, _ in found], "shown": list(features)},
    )
    known = view.tables.ask(
        "SELECT study, study_id, patient_id, labels, terms FROM studies WHERE list_contains(?, study)",
        [[study for study, _ in found]],
    )
    by_study = {row["study"]: row | {"shares": {}} for row in known}
    for row in rows:
        by_study[row["study"]]["shares"][row["feature"]] = row["share"]
    return [by_study[study] | {"likeness": likeness} for study, likeness in found]


def reasons(row: Mapping[str, Any], own: Mapping[int, float], n: int) -> list[int]:
    """Features that make a study alike: those of the largest product of both shares."""
    return sorted(row["shares"], key=lambda one: (-own.get(one, 0) * row["shares"][one], one))[:n]


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
