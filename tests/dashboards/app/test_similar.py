"""Likeness is what plain numpy makes of the table, and a contradiction needs a feature that fires strongly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from dashboards.app.similar import Asked, around, contradictions, matches, own_shares, ranked, reasons
from dashboards.app.view import LiveRun, RunView

COLS = 6  # of the patch grid of the run


@pytest.fixture(scope="module")
def view(app_run: Path) -> Iterator[RunView]:
    live = LiveRun(app_run, "main", True)
    yield live.current()
    live.close()


@pytest.fixture(scope="module")
def activity(app_run: Path) -> pd.DataFrame:
    folder = app_run / "sae/main/features"
    top = pd.read_parquet(folder / "features.parquet").set_index("feature")["max_activation"]
    rows = pd.read_parquet(folder / "study_activations.parquet")
    return rows.assign(share=rows["activation"] / rows["feature"].map(top).replace(0, np.nan)).dropna(subset=["share"])


def vectors(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a study, one column a feature."""
    return rows.groupby(["study", "feature"])["share"].max().unstack(fill_value=0.0)


def cosines(table: pd.DataFrame, study: int) -> dict[int, float]:
    unit = table.div(np.sqrt((table**2).sum(axis=1)), axis=0)
    return (unit @ unit.loc[study]).drop(study).to_dict()


def check(view: RunView, asked: Asked, expected: dict[int, float]) -> None:
    found = ranked(view, asked)
    assert dict(found) == pytest.approx({study: expected[study] for study, _ in found})
    assert len(found) == len(expected)
    assert [value for _, value in found] == sorted((value for _, value in found), reverse=True)


def test_images_are_alike_by_the_cosine_of_all_their_shares(view: RunView, activity: pd.DataFrame) -> None:
    rows = activity[activity["image"] == "frontal"]
    study = int(rows["study"].iloc[0])
    check(view, Asked(study=study), cosines(vectors(rows), study))
    own = own_shares(view, Asked(study=study))
    assert own == pytest.approx(rows[rows["study"] == study].groupby("feature")["share"].max().to_dict())
    assert list(own.values()) == sorted(own.values(), reverse=True)


def test_places_are_alike_by_what_fires_there(view: RunView, activity: pd.DataFrame) -> None:
    rows = activity[activity["image"] == "frontal"]
    study, patch = int(rows["study"].iloc[0]), int(rows["patches"].iloc[0][0])
    near = set(around(patch, COLS))

    def local(row: Any) -> float:
        inside = [weight for one, weight in zip(row["patches"], row["weights"], strict=True) if one in near]
        return float(row["share"]) * max(inside, default=0) / 255

    there = rows.assign(share=[local(row) for row in rows.to_dict("records")])
    table = vectors(there[[bool(near & set(patches)) for patches in rows["patches"]]])
    check(view, Asked(study=study, patch=patch, cols=COLS), cosines(table, study))


def test_where_a_weight_was_rounded_to_nothing_nothing_fires() -> None:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE list AS SELECT 0 AS id, 2.0 AS top")
    connection.execute("CREATE TABLE studies AS SELECT unnest([0, 1, 2]) AS study")
    connection.execute(
        "CREATE TABLE activity AS SELECT unnest([0, 1, 2]) AS study, 0 AS feature, 1.0 AS activation, "
        "'frontal' AS image, [5, 9] AS patches, unnest([[255, 9], [0, 255], [200, 255]]) AS weights"
    )

    def ask(sql: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        found = connection.execute(sql, values)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    view: Any = SimpleNamespace(tables=SimpleNamespace(ask=ask))
    assert ranked(view, Asked(study=0, patch=5, cols=2)) == [(2, pytest.approx(1.0))]
    assert own_shares(view, Asked(study=1, patch=5, cols=2)) == {}


def test_chosen_features_count_alike(view: RunView, activity: pd.DataFrame) -> None:
    asked = Asked(features=(1, 2))
    table = vectors(activity[activity["feature"].isin(asked.features)])
    check(view, asked, (table.sum(axis=1) / 2).to_dict())


def test_a_match_says_who_it_is_and_the_reasons_are_what_both_have(view: RunView) -> None:
    study = ranked(view, Asked(features=(1,)))[0][0]
    asked = Asked(study=study)
    own = own_shares(view, asked)
    nearest = ranked(view, asked)[:3]
    rows = matches(view, asked, nearest, list(own))
    assert [(row["study"], row["likeness"]) for row in rows] == nearest
    assert all(row["study_id"] and set(row["shares"]) <= set(own) for row in rows)
    products = [own[one] * rows[0]["shares"][one] for one in reasons(rows[0], own, 9)]
    assert products == sorted(products, reverse=True)


def test_only_features_that_fire_strongly_contradict() -> None:
    known = {7: {"concept": "pleural_effusion", "side": "left", "polarity": "present"}}

    def study(share: float, status: str) -> dict[str, Any]:
        return {"shares": {7: share}, "labels": json.dumps({"pleural_effusion:left": status})}

    denied = ["#7 says pleural effusion present, the study’s labels say absent"]
    assert contradictions(study(0.9, "absent"), known, None) == denied
    assert contradictions(study(0.4, "absent"), known, None) == []
    assert contradictions(study(0.9, "present"), known, None) == []
    assert contradictions(study(0.9, "absent"), known, study(0.9, "absent")) == [], "what holds of both is no news"
    between = "pleural effusion, left: present there, absent here"
    assert contradictions(study(0.9, "absent"), known, study(0.9, "present")) == [*denied, between]
    assert contradictions(study(0.9, "absent"), known, study(0.4, "present")) == denied
