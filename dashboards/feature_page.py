"""Content of the feature list and of the feature pages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autointerp.schema import ROLE_NAMES, Kind
from dashboards.encoding import pack_map
from dashboards.label_page import Labels
from dashboards.tables import read_table

_CONTEXT_COLUMNS = [
    "context", "feature", "kind", "split", "study", "modality", "role", "image", "row", "col", "map", "map_rows",
    "map_cols", "tokens", "activations", "sentence", "activation", "findings",
]  # fmt: skip


_LIST_COLUMNS = (
    "id", "label", "polarity", "concept", "modality", "group", "rate", "score", "score_low", "score_high",
    "shuffled", "search", "page",
)  # fmt: skip


def feature_list(features: pd.DataFrame, labels: Labels, paged: Sequence[int]) -> dict[str, list[Any]]:
    """The list of all features, one list a column, in the order of ``features``.

    Args:
        paged: features that have a page, in the order of the pages; ``page`` is the place among them, None for others.
    """
    place = {int(feature): at for at, feature in enumerate(paged)}
    columns: dict[str, list[Any]] = {name: [] for name in _LIST_COLUMNS}
    for row in features.itertuples():
        label = labels.of(int(row.feature)) or {}
        score = labels.hard_score(int(row.feature)) or {}
        promoted = [str(token["token"]).strip() for token in row.promoted]
        words = [str(row.feature), *(label.get(key) for key in ("label", "concept", "side", "polarity")), *promoted]
        values = {
            "id": int(row.feature),
            "label": label.get("label"),
            "polarity": label.get("polarity"),
            "concept": label.get("concept"),
            "modality": label.get("modality") or _seen_in(row.image_share, row.dead),
            "group": int(row.group) + 1,
            "rate": row.firing_rate,
            "score": score.get("auc"),
            "score_low": score.get("auc_low"),
            "score_high": score.get("auc_high"),
            "shuffled": score.get("base_auc"),
            "page": place.get(int(row.feature)),
            "search": " ".join(str(word) for word in words if word).lower().replace("_", " "),
        }
        for name, value in values.items():
            columns[name].append(value)
    return columns


def _seen_in(image_share: float, dead: bool) -> str | None:
    """Where an unlabelled feature fires: image or text if nine tenths of its tokens are of one sort."""
    if dead:
        return None
    return "image" if image_share >= 0.9 else "text" if image_share <= 0.1 else "both"


def choose_contexts(
    index: pd.DataFrame | None, shown: Collection[int], per_kind: int
) -> tuple[pd.DataFrame, pd.Series]:
    """Contexts to show and, per feature, how many are withheld.

    At most ``per_kind`` of each feature and kind: the strongest ones, and for the quantile kind evenly spread ones.
    Contexts of studies outside ``shown`` are never chosen.
    """
    if index is None or not len(index):
        return pd.DataFrame({"context": [], "feature": [], "study": [], "image": []}), pd.Series(dtype=int)
    allowed = index["study"].isin(list(shown))
    withheld = index[~allowed].groupby("feature").size()
    rows = index[allowed].sort_values(["feature", "kind", "activation", "context"], ascending=[True, True, False, True])
    groups = rows.groupby(["feature", "kind"], sort=False)
    place, size = groups.cumcount(), groups["context"].transform("size")
    keep = np.minimum(size, per_kind)
    # Row i of n is the first one of its share of the range: exactly `keep` rows are chosen, the strongest among them.
    spread = (place * keep // size) != ((place - 1) * keep // size)
    chosen = np.where(rows["kind"] == Kind.QUANTILE, spread, place < per_kind)
    return rows[chosen], withheld


class FeaturePages:
    """Makes the content of feature pages, a block of features at a time.

    Args:
        features: rows of the feature table to show.
        contexts_path: the contexts table.
        chosen: contexts to show, from :func:`choose_contexts`.
        withheld: number of withheld contexts by feature.
        labels: the labels.
        study_rows: study number → row on the page.
        steering: feature → numbers of its steering records.
    """

    def __init__(
        self,
        features: pd.DataFrame,
        contexts_path: Path,
        chosen: pd.DataFrame,
        withheld: pd.Series,
        labels: Labels,
        study_rows: Mapping[int, int],
        steering: Mapping[int, list[int]],
    ) -> None:
        self._features = features
        self._contexts_path = contexts_path
        self._chosen = chosen
        self._withheld = withheld
        self._labels = labels
        self._study_rows = study_rows
        self._steering = steering

    def block(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Content of the features in rows ``start`` … ``stop`` of the list."""
        rows = self._features.iloc[start:stop]
        contexts = self._contexts_of(rows["feature"].tolist())
        return [self._feature(row, contexts.get(int(row["feature"]), {})) for row in rows.to_dict("records")]

    def _contexts_of(self, features: Sequence[int]) -> dict[int, dict[str, list[dict[str, Any]]]]:
        wanted = self._chosen[self._chosen["feature"].isin(features)]
        found: dict[int, dict[str, list[dict[str, Any]]]] = {}
        if not len(wanted):
            return found
        filters = [("feature", "in", list(features)), ("context", "in", wanted["context"].tolist())]
        table = read_table(self._contexts_path, _CONTEXT_COLUMNS, filters)
        for row in [] if table is None else table.to_pylist():
            found.setdefault(row["feature"], {}).setdefault(row["kind"], []).append(row)
        return found

    def _feature(self, row: Mapping[str, Any], contexts: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
        feature = int(row["feature"])
        label = self._labels.of(feature) or {}
        keys = ("label", "concept", "side", "polarity", "modality", "explainer", "model")
        return {
            "id": feature,
            **{key: label.get(key) for key in keys},
            "reasoning": self._labels.reasoning_of(feature),
            "fits": {"firing": label.get("firing_share"), "quiet": label.get("quiet_share"),
                     "n_firing": label.get("n_firing"), "n_quiet": label.get("n_quiet")},
            "others": self._labels.others(feature),
            "scores": self._labels.scores_of(feature),
            "group": row["group"],
            "rate": row["firing_rate"],
            "n_fires": row["n_fires"],
            "studies": row["n_studies"],
            "patients": row["n_patients"],
            "max": row["max_activation"],
            "mean": row["mean_activation"],
            "dead": row["dead"],
            "dense": row["dense"],
            "histogram": _histogram(row),
            "roles": {name: (row["role_shares"] or {}).get(name) for name in ROLE_NAMES},
            "neighbours": [[pair["feature"], pair["cosine"]] for pair in row["neighbours"]],
            "promoted": [[token["token"], token["value"]] for token in row["promoted"]],
            "suppressed": [[token["token"], token["value"]] for token in row["suppressed"]],
            "output_score": row["output_score"],
            "map": pack_map(row["mean_map"], row["map_rows"], row["map_cols"]),
            "contexts": {kind: [self._context(one) for one in _ordered(rows)] for kind, rows in contexts.items()},
            "withheld": int(self._withheld.get(feature, 0)),
            "steering": self._steering.get(feature, []),
        }  # fmt: skip

    def _context(self, row: Mapping[str, Any]) -> dict[str, Any]:
        common = {
            "study": self._study_rows[row["study"]],
            "modality": row["modality"],
            "role": row["role"],
            "split": row["split"],
            "act": row["activation"],
            "findings": row["findings"] or [],
        }
        if row["modality"] == "image":
            place = {key: row[key] for key in ("image", "row", "col")}
            return {**common, **place, "map": pack_map(row["map"], row["map_rows"], row["map_cols"]), "sentence": None}
        return {**common, "tokens": row["tokens"] or [], "acts": row["activations"] or [], "sentence": row["sentence"]}


def _histogram(row: Mapping[str, Any]) -> dict[str, Any] | None:
    edges, counts = list(row["histogram_edges"]), list(row["histogram"])
    return {"edges": edges, "counts": counts} if counts and len(edges) == len(counts) + 1 else None


def _ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (-row["activation"], row["context"]))
