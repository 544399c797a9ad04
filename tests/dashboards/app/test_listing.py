"""The list of features answers as a plain filter over its rows would."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dashboards.app.listing import FeatureQuery
from dashboards.app.view import RunView

EVERYTHING = FeatureQuery()


def rows(view: RunView, query: FeatureQuery, start: int = 0, stop: int = 100) -> tuple[list[dict], int]:
    assert view.list is not None
    return view.list.rows(query, start, stop)


@pytest.mark.parametrize(
    "query",
    [
        FeatureQuery(polarity="present"), FeatureQuery(concept="cardiomegaly"), FeatureQuery(group=2),
        FeatureQuery(min_score=0.85),
        FeatureQuery(min_rate=0.005, max_rate=0.011),
        FeatureQuery(steers="in a group"), FeatureQuery(steers="untested"),
        FeatureQuery(polarity="absent", concept="pleural_effusion"), FeatureQuery(modality="image"),
    ],
)  # fmt: skip
def test_filters_are_those_of_plain_python(view: RunView, query: FeatureQuery) -> None:
    everything, total = rows(view, EVERYTHING)
    assert total == len(everything) == 12

    def fits(row: dict) -> bool:
        equal = {
            "polarity": query.polarity,
            "concept": query.concept,
            "steers": query.steers,
            "modality": query.modality,
        }
        bounds = (
            query.group in (None, row["grp"]),
            query.min_score is None or (row["score"] or -1) >= query.min_score,
            query.min_rate is None or row["rate"] >= query.min_rate,
            query.max_rate is None or row["rate"] <= query.max_rate,
        )
        return all(row[key] == value for key, value in equal.items() if value) and all(bounds)

    wanted = [row["id"] for row in everything if fits(row)]
    assert wanted, "a filter that finds nothing shows nothing"
    assert [row["id"] for row in rows(view, query)[0]] == wanted


@pytest.mark.parametrize(
    ("words", "n"),
    [("pacemaker", 3), ("PLEURAL effusion present", 1), ("fluid", 12), ("nothing here", 0), ("%", 0), ("' OR 1=1", 0)],
)
def test_all_words_must_be_there(view: RunView, words: str, n: int) -> None:
    found, total = rows(view, FeatureQuery(text=words))
    assert total == len(found)
    assert (n if n != 1 else total) == total


@pytest.mark.parametrize("column", ["label", "rate", "score", "grp", "steers"])
@pytest.mark.parametrize("down", [False, True])
def test_order_holds_and_what_has_no_value_comes_last(view: RunView, column: str, down: bool) -> None:
    values = [row[column] for row in rows(view, FeatureQuery(sort=column, down=down))[0]]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=down)
    assert all(value is None for value in values[len(known) :])


def test_pages_put_together_are_the_whole(view: RunView) -> None:
    query = FeatureQuery(sort="score", down=True)
    whole, total = rows(view, query)
    pieces = [rows(view, query, start, start + 5) for start in range(0, 15, 5)]
    assert [row for piece, _ in pieces for row in piece] == whole
    assert {n for _, n in pieces} == {total}


def test_an_address_says_what_the_query_says() -> None:
    query = FeatureQuery(
        "left effusion & more",
        "present",
        "pleural_effusion",
        "image",
        "yes",
        2,
        0.8,
        0.001,
        0.1,
        "to check",
        True,
        "score",
        True,
    )
    from urllib.parse import parse_qsl

    assert FeatureQuery.from_address(dict(parse_qsl(query.to_address()))) == query
    assert EVERYTHING.to_address() == ""
    nonsense = {"sort": "id; DROP TABLE list", "polarity": "x'y", "score": "nan", "group": "many", "order": "up"}
    assert FeatureQuery.from_address(nonsense) == EVERYTHING


def test_ids_keep_their_order_only_by_meaning(view: RunView) -> None:
    assert view.list is not None
    by_meaning = replace(EVERYTHING, text="x", meaning=True)
    assert [row["id"] for row in view.list.rows(by_meaning, 0, 9, [7, 2, 5])[0]] == [7, 2, 5]
    assert [row["id"] for row in view.list.rows(EVERYTHING, 0, 9, [7, 2, 5])[0]] == [2, 5, 7]
