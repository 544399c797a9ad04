from __future__ import annotations

import numpy as np
import pytest

from steering.errors import SteeringError
from steering.interventions.grids import StudyGrids, as_grids, maps_of_similar, peak, shape_of, table_for

ONE, TWO, NONE = ((0.0, 1.0),), ((2.0, 0.0),), ((0.0, 0.0),)


def test_each_study_has_its_own():
    grids = as_grids({"a": ONE, "b": TWO, "*": NONE}, "x")
    assert shape_of(grids) == (1, 2)
    assert peak(grids) == 2
    assert table_for(grids, ["b", "a", "c"], "x").tolist() == [list(map(list, g)) for g in (TWO, ONE, NONE)]
    with pytest.raises(SteeringError, match="x: no grid for study 'c'"):
        table_for(StudyGrids((("a", ONE),)), ["c"], "x")


@pytest.mark.parametrize(
    ("grids", "words"),
    [
        ({}, "0 given"),
        ({"a": NONE}, "not all zero"),
        ({"a": ONE, "b": ((1.0,),)}, r"shapes \[\(1, 1\), \(1, 2\)\]"),
        ({"a": ((float("nan"), 1.0),)}, "finite"),
        ({"a": ((5.0, 1.0),)}, "at most 1"),
    ],
)
def test_wrong_grids(grids, words):
    with pytest.raises(SteeringError, match=words):
        as_grids(grids, "interventions.mask", top=1.0)


def test_maps_of_similar_studies_are_means():
    found = maps_of_similar({"a": ONE, "b": TWO}, {"c": ["a", "b"], "a": ["b"]})
    assert dict(found.grids) == {"c": ((1.0, 0.5),), "a": TWO}
    assert np.asarray(found.of("a", "x")).tolist() == [[2.0, 0.0]]
    for similar, words in (({"c": []}, "no similar"), ({"c": ["z"]}, "'z', which has no map")):
        with pytest.raises(SteeringError, match=words):
            maps_of_similar({"a": ONE}, similar)
