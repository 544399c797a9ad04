from __future__ import annotations

from dashboards.steering_spec import features_of, how_of

TOKENS = {"scopes": ["prompt.image"], "image": "frontal"}
PART = {"kind": "add", "strength": 2.0, "unit": "max_activation", "shape": "map", "features": [7, 3]}
SPEC = {
    "experiment": {
        "conditions": {
            "group": {"site": "language.3", "interventions": [PART, PART | {"features": [3, 9]}], "tokens": TOKENS},
            "scaled": {"site": "language.3", "interventions": [{"kind": "scale", "factor": 0.5, "features": [1]}]},
            "direction": {"site": "projector", "interventions": [{"kind": "add", "direction": {"name": "d"}}]},
        }
    }
}


def test_all_features_of_a_condition_are_found_once() -> None:
    assert features_of(SPEC, "group") == [3, 7, 9]
    assert features_of(SPEC, "direction") == []
    assert features_of(SPEC, "unheard-of") == []


def test_the_sentence_says_kind_amount_shape_and_place() -> None:
    assert how_of(SPEC, "group") == (
        "At strength 1: add 2 × max activation, in the shape of each feature’s mean map, at language.3, "
        "on prompt.image (frontal only)."
    )
    assert how_of(SPEC, "scaled") == "At strength 1: scale by 0.5, at language.3."


def test_an_empty_spec_says_nothing() -> None:
    assert how_of({}, "group") == ""
    assert how_of({"experiment": {"conditions": {"group": {"interventions": "x"}}}}, "group") == ""
