"""The list of features: one row a feature with its shown label and score, and questions to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from autointerp import schema
from autointerp.schema import Kind, Modality, Polarity
from dashboards import outcomes
from dashboards.app.tables import RunTables
from dashboards.data import RunData

#: Columns of the list that a person may sort by.
SORTABLE = (
    "id", "label", "polarity", "concept", "modality", "grp", "rate", "score", "shuffled", "n_studies", "steers",
)  # fmt: skip
#: Columns of the list as shown and as written to CSV.
COLUMNS = (
    "id", "label", "polarity", "concept", "side", "modality", "grp", "rate", "n_studies", "score", "score_low",
    "score_high", "shuffled", "steers",
)  # fmt: skip
#: Whether steering it reached a goal.
STEERS = (*outcomes.STEERS, "untested")

_LIST = f"""
CREATE OR REPLACE TABLE list AS
WITH label AS (
    SELECT * FROM explanations
    QUALIFY row_number() OVER (PARTITION BY feature ORDER BY explainer = $main DESC, explainer) = 1
),
score AS (
    SELECT * FROM scores WHERE n > 0 AND negative_kind = '{Kind.HARD_NEGATIVE}'
    QUALIFY row_number() OVER (PARTITION BY feature, explainer ORDER BY scorer = 'detection' DESC, scorer) = 1
)
SELECT f.feature AS id, e.label, e.polarity, e.concept, e.side,
    coalesce(e.modality, CASE WHEN f.dead THEN NULL WHEN f.image_share >= 0.9 THEN 'image'
                              WHEN f.image_share <= 0.1 THEN 'text' ELSE 'both' END) AS modality,
    f."group" + 1 AS grp, f.firing_rate AS rate, f.n_studies, f.max_activation AS top, f.dead, f.dense,
    s.auc AS score, s.auc_low AS score_low, s.auc_high AS score_high, s.baseline_auc AS shuffled,
    coalesce(t.steers, 'untested') AS steers, e.explainer,
    replace(lower(concat_ws(' ', f.feature, e.label, e.concept, e.side, e.polarity,
        array_to_string(list_transform(f.promoted, lambda piece: trim(piece.token)), ' '))), '_', ' ') AS words
FROM features f
LEFT JOIN label e ON e.feature = f.feature
LEFT JOIN score s ON s.feature = e.feature AND s.explainer = e.explainer
LEFT JOIN steered t ON t.feature = f.feature
ORDER BY f.feature
"""


@dataclass(frozen=True)
class FeatureQuery:
    """What is asked of the list; the address of the page holds the same.

    Attributes:
        text: words that must all be there: in label, concept, polarity, promoted tokens, or the number.
        polarity, concept, modality, steers: exact; "" for any.
        group: Matryoshka group, 1 first; None for any.
        min_score: least AUC against hard negatives.
        min_rate, max_rate: firing rate, share of tokens.
        tag: a tag or list that a person gave.
        meaning: look for the sense of ``text`` instead of its words.
        sort, down: column of :data:`SORTABLE` and whether the largest come first.
    """

    text: str = ""
    polarity: str = ""
    concept: str = ""
    modality: str = ""
    steers: str = ""
    group: int | None = None
    min_score: float | None = None
    min_rate: float | None = None
    max_rate: float | None = None
    tag: str = ""
    meaning: bool = False
    sort: str = "id"
    down: bool = False

    @classmethod
    def from_address(cls, values: Mapping[str, str]) -> FeatureQuery:
        """From the query of an address; what is not understood is left out, never an error."""

        def one_of(name: str, allowed: Sequence[str]) -> str:
            return values.get(name, "") if values.get(name, "") in allowed else ""

        group = _number(values.get("group"))
        return cls(
            text=values.get("q", "").strip()[:200],
            polarity=one_of("polarity", list(Polarity)),
            concept=values.get("concept", "")[:100],
            modality=one_of("modality", list(Modality)),
            steers=one_of("steers", STEERS),
            group=None if group is None else int(group),
            min_score=_number(values.get("score")),
            min_rate=_number(values.get("rate_from")),
            max_rate=_number(values.get("rate_to")),
            tag=values.get("tag", "")[:60],
            meaning=values.get("meaning") == "1",
            sort=one_of("sort", SORTABLE) or "id",
            down=values.get("order") == "down",
        )

    def to_address(self) -> str:
        """The query of an address, without what is as usual."""
        parts = {
            "q": self.text, "polarity": self.polarity, "concept": self.concept, "modality": self.modality,
            "steers": self.steers, "group": self.group, "score": self.min_score, "rate_from": self.min_rate,
            "rate_to": self.max_rate, "tag": self.tag, "meaning": "1" if self.meaning else "",
            "sort": "" if self.sort == "id" else self.sort, "order": "down" if self.down else "",
        }  # fmt: skip
        return urlencode({name: value for name, value in parts.items() if value not in ("", None)})


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and abs(value) < 1e9 else None


class FeatureList:
    """The table ``list``.

    Attributes:
        main: the explainer whose labels are shown before others'.
        concepts: concepts that labels name.
        groups: number of Matryoshka groups.

    Args:
        tables: with the view ``features``.
    """

    def __init__(self, data: RunData, tables: RunTables) -> None:
        self._tables = tables
        folder = data.sae_dir / schema.LABELS_FOLDER
        orders = {"explanations": "explainer", "scores": "explainer, scorer, negative_kind"}
        for name, frame in (("explanations", data.explanations), ("scores", data.scores)):
            file = f"{name}.parquet"
            if frame is None:
                tables.frame(name, schema.TABLES[file].empty_table().to_pandas())
            else:
                tables.load(name, folder / file, schema.TABLES[file].names)
            tables.keep_by_feature(name, orders[name])
        counts = tables.ask(
            "SELECT explainer, count(DISTINCT feature) AS n, count(model) AS llm FROM explanations "
            "GROUP BY explainer ORDER BY n DESC, llm DESC, explainer LIMIT 1"
        )
        self.main: str | None = counts[0]["explainer"] if counts else None
        tables.make(_LIST.replace("$main", "?"), [self.main or ""])
        found = tables.ask("SELECT DISTINCT concept FROM list WHERE concept IS NOT NULL ORDER BY concept")
        self.concepts = [row["concept"] for row in found]
        self.groups = int(tables.ask("SELECT coalesce(max(grp), 0) AS n FROM list")[0]["n"])

    def __len__(self) -> int:
        return int(self._tables.ask("SELECT count(*) AS n FROM list")[0]["n"])

    def rows(
        self, query: FeatureQuery, start: int, stop: int, ids: Sequence[int] | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """Rows ``start`` … ``stop`` − 1 of what the query finds, and how many it finds.

        Args:
            ids: only these features; with ``query.meaning`` their order is that of likeness.
        """
        where, values = _where(query)
        order = f"{query.sort} {'DESC' if query.down else 'ASC'} NULLS LAST, id"
        if ids is not None:
            where.append("id IN (SELECT unnest(?))")
            values.append(list(ids))
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        by_sense = query.meaning and ids is not None and query.sort == "id"
        if by_sense:
            order = "list_position(?, id)"
        sql = f"SELECT {', '.join(COLUMNS)}, count(*) OVER () AS found FROM list{condition} ORDER BY {order}"
        page = [stop - start, start]
        rows = self._tables.ask(f"{sql} LIMIT ? OFFSET ?", [*values, *([list(ids or ())] if by_sense else []), *page])
        total = rows[0]["found"] if rows else 0
        if not rows and start:
            total = self._tables.ask(f"SELECT count(*) AS n FROM list{condition}", values)[0]["n"]
        return [{key: row[key] for key in COLUMNS} for row in rows], int(total)

    def short(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Label, polarity, concept, side, modality, score and largest activation of some features."""
        columns = "id, label, polarity, concept, side, modality, score, top, rate, grp"
        rows = self._tables.ask(
            f"SELECT {columns} FROM list WHERE id IN (SELECT unnest(?))", [[int(one) for one in ids]]
        )
        return {row["id"]: row for row in rows}

    def texts(self) -> tuple[list[int], list[str]]:
        """Features that have a label, and their labels with concept and polarity, for search by meaning."""
        rows = self._tables.ask("SELECT id, label FROM list WHERE label IS NOT NULL ORDER BY id")
        return [row["id"] for row in rows], [row["label"] for row in rows]


def _where(query: FeatureQuery) -> tuple[list[str], list[Any]]:
    """Conditions and their values."""
    where: list[str] = []
    values: list[Any] = []
    for word in [] if query.meaning else query.text.lower().replace("_", " ").split():
        where.append("contains(words, ?)")
        values.append(word.removeprefix("#"))
    for column in ("polarity", "concept", "modality", "steers"):
        if value := getattr(query, column):
            where.append(f"{column} = ?")
            values.append(value)
    bounds = (("grp", "=", query.group), ("score", ">=", query.min_score), ("rate", ">=", query.min_rate),
              ("rate", "<=", query.max_rate))  # fmt: skip
    for column, sign, value in bounds:
        if value is not None:
            where.append(f"{column} {sign} ?")
            values.append(value)
    return where, values
