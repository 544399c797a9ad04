"""What the page of one feature shows, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow.compute as pc

from autointerp import schema
from autointerp.schema import ROLE_NAMES, Kind
from dashboards.app.images import image_href
from dashboards.app.view import RunView
from dashboards.encoding import pack_map
from radiology.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Contexts shown of each kind and modality.
PER_KIND = 12
#: Directions less alike than this are no neighbours in the nesting.
LEAST_COSINE = 0.3
LEAST_JACCARD = 0.05
_CONTEXT = (
    "context", "kind", "hardness", "split", "study", "study_id", "modality", "role", "image", "row", "col", "map",
    "map_rows", "map_cols", "tokens", "activations", "sentence", "activation", "findings",
)  # fmt: skip


def row_of(view: RunView, number: int) -> dict[str, Any] | None:
    """The row of the feature table, or None if there is no such feature."""
    if "features" not in view.tables.there:
        return None
    found = view.tables.by_feature["features"].of(number, schema.FEATURES.names).to_pylist()
    return dict.fromkeys(schema.FEATURES.names) | found[0] if found else None


def labels_of(view: RunView, number: int) -> list[dict[str, Any]]:
    """Labels of all explainers, the shown one first; without their reasoning where it may quote what is hidden."""
    main = view.list.main if view.list is not None else None
    rows = _rows_of(view, schema.EXPLANATIONS_FILE, number)
    rows.sort(key=lambda row: row["explainer"] != main)
    return rows if view.shown.free_text else [row | {"reasoning": None} for row in rows]


def scores_of(view: RunView, number: int) -> list[dict[str, Any]]:
    """Scores of all labels, by explainer, scorer and kind of negatives."""
    return _rows_of(view, schema.SCORES_FILE, number)


def _rows_of(view: RunView, file: str, number: int) -> list[dict[str, Any]]:
    """Rows of a feature in a table of labels."""
    table = view.tables.by_feature[file.removesuffix(".parquet")]
    return list(table.of(number, schema.TABLES[file].names).to_pylist())


def contexts_of(view: RunView, number: int, top: float) -> tuple[list[dict[str, Any]], int]:
    """Contexts to show, by kind, and how many are withheld with their studies."""
    if "contexts" not in view.tables.there or "studies" not in view.tables.there:
        return [], 0
    terms = view.terms
    table = view.tables.by_feature["contexts"].of(number, _CONTEXT)
    empty = dict.fromkeys(_CONTEXT)
    rows = [empty | row | {"terms": terms.get(row["study"])} for row in table.to_pylist()]
    rows.sort(key=lambda row: (-row["activation"], row["context"]))
    open_ones = [row for row in rows if row["terms"] is not None]
    chosen: list[dict[str, Any]] = []
    for kind in Kind:
        for modality in ("image", "text"):
            own = [row for row in open_ones if row["kind"] == kind and row["modality"] == modality]
            chosen += [_context(view, row, top) for row in _some(own, spread=kind == Kind.QUANTILE)]
    return chosen, len(rows) - len(open_ones)


def _some(rows: Sequence[dict[str, Any]], spread: bool) -> list[dict[str, Any]]:
    """The first ones, or evenly spread ones."""
    n = len(rows)
    if n <= PER_KIND or not spread:
        return list(rows[:PER_KIND])
    return [rows[round(at * (n - 1) / (PER_KIND - 1))] for at in range(PER_KIND)]


def _context(view: RunView, row: Mapping[str, Any], top: float) -> dict[str, Any]:
    names = ("kind", "hardness", "split", "study", "modality", "role", "sentence", "findings")
    common = {name: row[name] for name in names} | {"id": row["study_id"], "act": row["activation"]}
    if row["modality"] != "image":
        return common | {"tokens": row["tokens"], "acts": row["activations"]}
    real = row["terms"] != "phantom" and view.data.model_is_phantom
    place = {name: row[name] for name in ("image", "row", "col")}
    picture = {"src": image_href(row["study"], row["image"]), "real": real}
    return common | place | picture | {"map": pack_map(row["map"], row["map_rows"], row["map_cols"])}


def related(view: RunView, number: int) -> dict[str, list[dict[str, Any]]]:
    """Features of near direction and common firing, as ``parents`` (inner groups), ``same`` and ``children``.

    Directions are compared by cosine; co-firing is the Jaccard index of tokens. Relations named in either feature's row
    count.
    """
    if view.list is None or view.relations is None:
        return {"parents": [], "same": [], "children": []}
    pairs = view.relations.of(number)
    known = view.list.short([number, *pairs])
    own = known.get(number)
    found: dict[str, list[dict[str, Any]]] = {"parents": [], "same": [], "children": []}
    for name, (cosine, jaccard) in pairs.items():
        other = known.get(name)
        strong = (cosine or 0) >= LEAST_COSINE or (jaccard or 0) >= LEAST_JACCARD
        if other is None or own is None or not strong:
            continue
        place = "same" if other["grp"] == own["grp"] else "parents" if other["grp"] < own["grp"] else "children"
        found[place].append(other | {"cosine": cosine, "jaccard": jaccard})
    for rows_of in found.values():
        rows_of.sort(key=lambda one: -max(one["jaccard"] or 0, one["cosine"] or 0))
    return {name: rows_of[:8] for name, rows_of in found.items()}


def roles_of(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: (row["role_shares"] or {}).get(name) or 0.0 for name in ROLE_NAMES}


def detection_rows(view: RunView, number: int, finding: str, modality: str) -> pd.DataFrame:
    """One row a study of the activity table: ``score`` (largest activation), ``truth``, ``patient_id``, slices.

    Args:
        finding: a key of the studies' labels; studies that do not tell it, or call it uncertain, are left out.
        modality: ``image``, or ``text`` for the report.
    """
    truths = view.truths
    if truths is None:
        raise InputError("The table of what fires in each study is not there.")
    column, value = ("modality", "image") if modality == "image" else ("role", "report")
    table = view.tables.by_feature["activity"].of(number, ("study", "activation", column))
    table = table.filter(pc.equal(table[column], value))
    return truths.detection_rows(finding, table["study"].to_numpy(), table["activation"].to_numpy())
