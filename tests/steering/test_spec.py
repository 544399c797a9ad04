from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.errors import SteeringError
from steering.interventions.kinds import Ablate, Add, Clamp, Floor, Scale
from steering.interventions.spec import (
    Direction,
    Gate,
    Intervention,
    Redirect,
    Schedule,
    SteeringSpec,
    StudyGrids,
    Tokens,
)
from steering.interventions.spec_json import spec_from_json, spec_to_json

finite = st.floats(-100, 100, allow_nan=False)
units = st.sampled_from(["max_activation", "residual_norm", "activation"])
uniform_kinds = st.one_of(
    st.builds(Add, finite, units),
    st.builds(Clamp, finite, units),
    st.builds(Floor, finite, units),
    st.builds(Scale, finite),
    st.just(Ablate()),
)
scopes = st.lists(st.sampled_from(["prompt.image", "prompt.text", "generated"]), min_size=1, unique=True).map(tuple)


@st.composite
def specs(draw):
    features = draw(st.lists(st.integers(0, 500), min_size=1, max_size=4, unique=True))
    part = Intervention(draw(uniform_kinds), tuple(features), max_activations=(2.5,) * len(features))
    shaped = draw(st.booleans())
    if not shaped:
        push = Intervention(Add(draw(finite)), direction=Direction("d", tuple(draw(st.tuples(finite, st.just(1.0))))))
        tokens, parts = Tokens(draw(scopes)), (part, push)
    else:
        maps = tuple(((0.0, draw(st.floats(0.1, 9))), (1.0, 0.0)) for _ in features)
        shaped_part = Intervention(Add(1.0, shape="map"), tuple(features), maps=maps)
        tokens, parts = Tokens(image="lateral", box=(0.0, 0.25, 0.5, 1.0)), (part, shaped_part)
    gate = draw(st.none() | st.builds(Gate, st.integers(0, 9), finite))
    redirect = draw(st.sampled_from([None, Redirect("wrong sign"), Redirect("random", (1.0, 2.0))]))
    return SteeringSpec("language.15", parts, tokens, gate, redirect)


@given(specs())
def test_json_round_trip(spec):
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


def test_a_spec_written_by_hand():
    text = """{"site": "language.3",
               "interventions": [{"kind": "clamp", "strength": 2, "features": [412], "max_activations": [7.5]}],
               "tokens": {"scopes": "all"}}"""
    spec = spec_from_json(json.loads(text))
    assert spec.interventions[0].kind == Clamp(2)
    assert spec.tokens.scopes == ("prompt.image", "prompt.text", "generated")


def test_specs_are_frozen_and_take_numpy():
    part = Intervention(Add(1, shape="map"), (np.int64(3),), maps=(np.ones((2, 2)),))
    assert part.maps == (((1.0, 1.0), (1.0, 1.0)),)
    with pytest.raises(FrozenInstanceError):
        part.features = (4,)


FEATURE = {"features": (1,), "max_activations": (1.0,)}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Add(float("nan")), "Add.strength: nan is not a finite number"),
        (lambda: Clamp(float("inf")), "Clamp.strength"),
        (lambda: Add("2"), "Add.strength: '2'"),
        (lambda: Add(True), "Add.strength"),
        (lambda: Add(1, unit="sigma"), "Add.unit: 'sigma'"),
        (lambda: Add(1, shape="round"), "Add.shape: 'round'"),
        (lambda: Scale(float("nan")), "Scale.factor"),
        (lambda: Gate(3, float("nan")), "gate.above"),
        (lambda: Direction("x", (0.0, 0.0)), "direction 'x'"),
        (lambda: Direction("x", (float("nan"), 1.0)), "direction 'x'"),
        (lambda: Intervention(Add(1)), "either features or a direction"),
        (lambda: Intervention(Add(1), (1,), Direction("x", (1.0,))), "either features or a direction"),
        (lambda: Intervention(Clamp(1), direction=Direction("x", (1.0,))), "clamp needs the activation of a feature"),
        (lambda: Intervention(Ablate(), (1, 1)), "names a feature twice"),
        (lambda: Intervention(Ablate(), (-1,)), "negative"),
        (lambda: Intervention(Add(1), (1,)), "interventions.max_activations: 0 values for 1"),
        (lambda: Intervention(Add(1), (1,), max_activations=(0.0,)), "must be finite and positive"),
        (lambda: Intervention(Add(1, shape="map"), (1,)), "interventions.maps: 0 maps for 1"),
        (lambda: Intervention(Add(1, shape="mask"), **FEATURE), "interventions.mask"),
        (lambda: Intervention(Add(1, shape="mask"), mask=((2.0,),), **FEATURE), "at most 1"),
        (lambda: Intervention(Add(1), mask=((0.0,),), **FEATURE), "not all zero"),
        (lambda: Intervention(Add(1), maps=(((float("nan"),),),), **FEATURE), "interventions.maps"),
        (lambda: Intervention(Add(1), maps=(np.ones(4),), **FEATURE), r"interventions.maps: shape \(4,\)"),
        (lambda: Intervention(Add(1), maps=((("a",),),), **FEATURE), "not a .rows, columns. table"),
        (lambda: Tokens(("image",)), "tokens.scopes: 'image'"),
        (lambda: Tokens(()), "tokens.scopes"),
        (lambda: Tokens(("all", "generated")), "'all' alone"),
        (lambda: Tokens(("generated",), image="frontal"), "prompt.image"),
        (lambda: Tokens(box=(0.5, 0, 0.5, 1)), "tokens.box"),
        (lambda: SteeringSpec("", (Intervention(Ablate(), (1,)),)), "site: missing"),
        (lambda: SteeringSpec("language.1", ()), "interventions: none given"),
    ],
)
def test_wrong_values_are_refused_by_name(make, words):
    with pytest.raises(SteeringError, match=words):
        make()


def test_a_map_needs_one_image():
    part = Intervention(Add(1, shape="map"), (1,), maps=(np.ones((2, 2)),))
    for tokens in (Tokens(), Tokens("all"), Tokens(("prompt.image", "generated"), image="frontal")):
        with pytest.raises(SteeringError, match="name the image"):
            SteeringSpec("language.1", (part,), tokens)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"interventions": []}, "interventions: none given"),
        ({"interventions": [{"kind": "ablate", "features": [1]}]}, "spec: the field 'site' is missing"),
        ({"site": "x", "interventions": [], "layer": 3}, "spec: unknown field 'layer'"),
        ({"site": "x", "interventions": {}}, "a list is needed"),
        ({"site": "x", "interventions": [{"kind": "boost"}]}, r"interventions\[0\].kind: 'boost'"),
        ({"site": "x", "interventions": ["add"]}, r"interventions\[0\].kind: 'add'"),
        ({"site": "x", "interventions": [{"kind": "add", "features": [1]}]}, r"interventions\[0\].add: .*strength"),
        ({"site": "x", "interventions": [{"kind": "scale", "factor": 1, "dose": 2}]}, "unknown field 'dose'"),
        ({"site": "x", "interventions": [{"kind": "ablate", "features": [1]}], "tokens": 3}, "tokens: an object"),
        ([], "spec: an object"),
    ],
)
def test_wrong_json_is_refused_by_name(data, words):
    with pytest.raises(SteeringError, match=words):
        spec_from_json(data)


def test_effective_and_unconditional():
    add = SteeringSpec("x", (Intervention(Add(1.0), **FEATURE),))
    assert add.effective
    assert add.unconditional
    assert not replace(add, gate=Gate(1)).unconditional
    assert not SteeringSpec("x", (Intervention(Add(0.0), **FEATURE),)).effective
    clamp = SteeringSpec("x", (Intervention(Clamp(0.0), **FEATURE),))
    assert clamp.effective
    assert not clamp.unconditional


def test_version_1_is_written_as_before_and_both_are_read():
    old = {
        "site": "language.1",
        "interventions": [
            {"kind": "clamp", "strength": 2.0, "unit": "activation", "shape": "uniform", "features": [5]},
        ],
        "tokens": {"scopes": ["prompt.image"], "image": "frontal"},
        "gate": {"feature": 3, "above": 0.0},
        "redirect": {"name": "wrong sign", "vector": None},
    }
    assert spec_to_json(spec_from_json(old)) == old
    assert spec_from_json({"version": 1, **old}) == spec_from_json({"version": 2, **old}) == spec_from_json(old)


GRIDS = {"s1": ((0.0, 1.0),), "*": ((1.0, 0.0),)}
NEW = [
    SteeringSpec("language.1", (Intervention(Ablate(), (5,), site="language.2"), Intervention(Ablate(), (5,)))),
    SteeringSpec(
        "language.1", (Intervention(Ablate(), (5,)),), Tokens("generated", pattern=r"\d+ cm", words=("tube",))
    ),
    SteeringSpec("language.1", (Intervention(Ablate(), (5,), gate=Gate("own", 0.5), tokens=Tokens("all")),)),
    SteeringSpec(
        "language.1", (Intervention(Ablate(), (5,)),), Tokens("all"), Gate(topic="pulmonary_edema", negate=True)
    ),
    SteeringSpec(
        "language.1",
        (Intervention(Ablate(), (5,)),),
        Tokens("generated"),
        schedule=Schedule(stop=9, until="fracture"),
    ),
    SteeringSpec(
        "language.1",
        (Intervention(Add(1.0, shape="map"), (5,), maps=(StudyGrids(GRIDS),)),),
        Tokens(image="frontal", mask=GRIDS),
    ),
    SteeringSpec(
        "language.1", (Intervention(Ablate(), (5,)),), redirect=Redirect("r", vectors={"language.1": (1.0, 0.0)})
    ),
]


@pytest.mark.parametrize("spec", NEW)
def test_what_is_new_is_version_2(spec):
    data = json.loads(json.dumps(spec_to_json(spec)))
    assert data["version"] == 2
    assert spec_from_json(data) == spec


PART = {"kind": "ablate", "features": [1]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 3}, "version: 3; this program reads 1 and 2"),
        ({"interventions": [PART, {**PART, "features": [2.5]}]}, r"interventions\[1\].features: 2.5"),
        ({"interventions": [{"kind": "add", "strength": float("nan")}]}, r"interventions\[0\].strength: nan"),
        (
            {"interventions": [{"kind": "add", "strength": 1, "unit": "x"}]},
            r"interventions\[0\].unit: 'x' is not one of",
        ),
        (
            {"interventions": [PART, {**PART, "tokens": {"scopes": ["image"]}}]},
            r"interventions\[1\].tokens.scopes: 'image' is not one of \['prompt.image'",
        ),
        ({"interventions": [{**PART, "gate": {"feature": "mine"}}]}, r"interventions\[0\].gate.feature: 'mine'"),
        (
            {"interventions": [{**PART, "schedule": {"stop": 0}}]},
            r"interventions\[0\].schedule.stop: 0; a whole number of at least 1",
        ),
        (
            {"interventions": [{**PART, "schedule": {"stop": 3}}]},
            r"interventions\[0\].schedule: .* add the scope generated",
        ),
        ({"interventions": [{**PART, "mask": {"s1": [[0.0]]}}]}, r"interventions\[0\].mask: grids of studies"),
        ({"tokens": {"scopes": "generated", "pattern": "("}}, r"tokens.pattern: '\(' is not a regular expression"),
        ({"tokens": {"pattern": "x"}}, "tokens: pattern and words choose among text; add the scope"),
        ({"tokens": {"scopes": "generated", "words": [""]}}, "tokens.words"),
        ({"gate": {"topic": "pulmonary_edema"}}, r"gate: topic and pattern read text, and images have none"),
        ({"gate": {"topic": "oedemas"}}, "gate.topic: concept 'oedemas' does not exist; choose one of"),
        ({"gate": {"feature": 1, "above": "x"}}, "gate.above: 'x'"),
        ({"schedule": {"every": 2}}, "schedule: it counts tokens of the report"),
        ({"schedule": {"first": 2}}, "schedule: unknown field 'first'; known are"),
        ({"site": "projector", "tokens": {"scopes": "generated"}}, "projector holds patches only"),
    ],
)
def test_every_wrong_field_is_named_by_its_path(change, words):
    with pytest.raises(SteeringError, match=words):
        spec_from_json({"site": "language.1", "interventions": [PART], **change})
