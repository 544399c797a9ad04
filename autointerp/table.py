"""The features of an SAE with labels and scores, to search in and to take one out of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd
from pyarrow import dataset

from autointerp import schema
from autointerp.files import features_folder, labels_folder, read_frame, read_table
from autointerp.schema import CONTEXTS_FILE, EXPLANATIONS_FILE, FAILED_LABEL, FEATURES_FILE, SCORES_FILE, Kind
from radiology.errors import InputError
from radiology.vocabulary import find_concept

#: Labels of this explainer come first where a feature has several.
_PREFERRED = "llm"


@dataclass(frozen=True)
class Feature:
    """One feature; ``feature`` and ``int(…)`` are its number in the SAE. Equal and hashed by table and number."""

    feature: int
    table: FeatureTable

    def __int__(self) -> int:
        return self.feature

    __index__ = __int__

    def __repr__(self) -> str:
        return f"Feature({self.feature}, {self.label!r})"

    @cached_property
    def row(self) -> dict[str, Any]:
        """Its row of ``features.parquet``."""
        return self.table.frame.loc[self.feature].to_dict()

    @property
    def explanations(self) -> pd.DataFrame:
        """Its labels, one row an explainer."""
        return self.table.rows("explanations", self.feature)

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of its labels."""
        return self.table.rows("scores", self.feature)

    @property
    def contexts(self) -> pd.DataFrame:
        """Its contexts, with maps and tokens."""
        return self.table.contexts(self.feature)

    @property
    def hard_negatives(self) -> pd.DataFrame:
        """Its contexts in which it is quiet although they look alike, with the `hardness` of each."""
        found = self.contexts
        return found[found["kind"] == Kind.HARD_NEGATIVE].reset_index(drop=True)

    @property
    def co_firing(self) -> pd.DataFrame:
        """Features that fire on the same tokens: feature, label, n_tokens, jaccard; most alike first."""
        return self._with_labels("co_firing", ["feature", "n_tokens", "jaccard"])

    @property
    def neighbours(self) -> pd.DataFrame:
        """Features of nearest decoder direction: feature, label, cosine; nearest first."""
        return self._with_labels("neighbours", ["feature", "cosine"])

    def _with_labels(self, column: str, names: list[str]) -> pd.DataFrame:
        listed = self.row[column]
        found = pd.DataFrame([] if listed is None else list(listed), columns=names)
        labels = self.table.labels.set_index("feature")["label"]
        found.insert(1, "label", found["feature"].map(labels))
        return found

    @property
    def label(self) -> str | None:
        """Its label; None before it is explained."""
        found = self.table.labels
        found = found[found["feature"] == self.feature]["label"].dropna()
        return None if len(found) == 0 else str(found.iloc[0])

    @property
    def max_activation(self) -> float:
        return float(self.row["max_activation"])

    @property
    def mean_map(self) -> np.ndarray | None:
        """(rows · cols,) float32 mean activation per frontal patch, row by row; None without image tokens."""
        values = self.row["mean_map"]
        return None if values is None else np.asarray(values, dtype=np.float32)

    @property
    def map_rows(self) -> int:
        return int(self.row["map_rows"])

    @property
    def map_cols(self) -> int:
        return int(self.row["map_cols"])


class FeatureTable:
    """``features.parquet`` of an SAE joined with its labels and scores.

    Attributes:
        frame: one row a feature, the columns of ``features.parquet``, indexed by feature.

    Raises:
        InputError: the SAE has no feature table.
    """

    def __init__(self, features: Path, labels: Path) -> None:
        self._folders = {
            FEATURES_FILE: features,
            CONTEXTS_FILE: features,
            EXPLANATIONS_FILE: labels,
            SCORES_FILE: labels,
        }
        self.frame = read_frame(features / FEATURES_FILE).set_index("feature", drop=False).rename_axis(None)

    @classmethod
    def open(cls, run_dir: str | Path, sae_name: str) -> Self:
        """The feature table of ``RUN/sae/NAME``."""
        return cls(features_folder(run_dir, sae_name), labels_folder(run_dir, sae_name))

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[Feature]:
        return (Feature(int(number), self) for number in self.frame.index)

    def __getitem__(self, number: int) -> Feature:
        """A feature by its number; InputError says which there are."""
        if int(number) not in self.frame.index:
            raise InputError(
                f"feature {number} does not exist; there are {self.frame.index.min()} … {self.frame.index.max()}"
            )
        return Feature(int(number), self)

    @property
    def labels(self) -> pd.DataFrame:
        """One row a feature: its label (of the ``llm`` explainer before others) and its scores, best labels first.

        Columns: feature, label, concept, side, polarity, modality, explainer, hard_accuracy, random_accuracy (balanced
        accuracies of detection against hard and random negatives), hard_low, hard_high (interval), baseline (that of
        other labels on the hard contexts), firing_rate, n_studies, max_activation, dead, dense.
        """
        return self.sql(_LABELS, preferred=_PREFERRED, failed=FAILED_LABEL)

    def search(self, text: str, *, limit: int = 50) -> pd.DataFrame:
        """Features whose label speaks of ``text``, best scored first; columns as :attr:`labels`.

        A name of a finding ("pleural effusion", "enlarged heart") finds all labels with that concept; other words must
        all be in the label or among the tokens that the feature promotes.
        """
        if not text.strip():
            raise InputError("search: no words given; name a finding or words of a label")
        concept = find_concept(text)
        words = text.lower().split()
        found = self.labels
        fits = found["concept"] == (concept.key if concept else "")
        label = found["label"].fillna("").str.lower()
        promoted = self.frame["promoted"].map(lambda tokens: " ".join(token["token"] for token in tokens).lower())
        promoted = promoted.reindex(found["feature"]).to_numpy()
        in_label, in_promoted = (
            [all(word in str(entry) for word in words) for entry in entries] for entries in (label, promoted)
        )
        by_label = fits.fillna(False).to_numpy(bool) | pd.Series(in_label).to_numpy(bool)
        ranked = pd.concat([found[by_label], found[~by_label & pd.Series(in_promoted).to_numpy(bool)]])
        return ranked.head(limit).reset_index(drop=True)

    def rows(self, table: str, number: int) -> pd.DataFrame:
        """Rows of ``explanations`` or ``scores`` of one feature."""
        return self.sql(f"SELECT * FROM {table} WHERE feature = $feature", feature=number)

    def contexts(self, number: int) -> pd.DataFrame:
        """Contexts of one feature; only their row groups are read."""
        path = self._folders[CONTEXTS_FILE] / CONTEXTS_FILE
        return read_table(path, filters=[("feature", "=", int(number))]).to_pandas()

    def sql(self, query: str, **parameters: Any) -> pd.DataFrame:
        """Ask the tables ``features``, ``contexts``, ``explanations`` and ``scores`` in SQL (DuckDB).

        ``$name`` in the query is a parameter. Contexts are read as far as the query needs them.
        """
        with duckdb.connect() as connection:
            contexts = self._folders[CONTEXTS_FILE] / CONTEXTS_FILE
            if contexts.is_file():
                connection.register("contexts", dataset.dataset(contexts, schema=schema.CONTEXTS))
            for name in (FEATURES_FILE, EXPLANATIONS_FILE, SCORES_FILE):
                path = self._folders[name] / name
                frame = read_table(path) if path.is_file() else schema.TABLES[name].empty_table()
                connection.register(name.partition(".")[0], frame)
            return connection.execute(query, parameters or None).df()


def read_features(run_dir: str | Path, sae_name: str = "main") -> FeatureTable:
    """The feature table of an SAE of a run."""
    return FeatureTable.open(run_dir, sae_name)


_LABELS = f"""
WITH chosen AS (
    SELECT *, row_number() OVER (
        PARTITION BY feature ORDER BY label = $failed, explainer <> $preferred, explainer
    ) AS place
    FROM explanations
),
hard AS (SELECT * FROM scores WHERE negative_kind = '{Kind.HARD_NEGATIVE}' AND scorer = 'detection'),
random AS (SELECT * FROM scores WHERE negative_kind = '{Kind.RANDOM_NEGATIVE}' AND scorer = 'detection')
SELECT f.feature, e.label, e.concept, e.side, e.polarity, e.modality, e.explainer,
       h.balanced_accuracy AS hard_accuracy, r.balanced_accuracy AS random_accuracy,
       h.balanced_accuracy_low AS hard_low, h.balanced_accuracy_high AS hard_high,
       h.baseline_balanced_accuracy AS baseline,
       f.firing_rate, f.n_studies, f.max_activation, f.dead, f.dense
FROM features f
LEFT JOIN chosen e ON e.feature = f.feature AND e.place = 1
LEFT JOIN hard h ON h.feature = e.feature AND h.explainer = e.explainer
LEFT JOIN random r ON r.feature = e.feature AND r.explainer = e.explainer
ORDER BY hard_accuracy DESC NULLS LAST, random_accuracy DESC NULLS LAST, f.feature
"""
