from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from steering.errors import SteeringError
from steering.interventions.kinds import Ablate, Add, Clamp
from steering.interventions.spec import Direction, Tokens
from steering.interventions.targets import build_spec


@dataclass(frozen=True)
class Record:
    """What a row of the feature table looks like from here."""

    feature: int
    max_activation: float = 4.0
    mean_map: tuple[float, ...] | None = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    map_rows: int = 2
    map_cols: int = 3


def test_site_and_tokens_by_default(sae):
    spec = build_spec({3: Ablate()}, sae)
    assert spec.site == "language.1"
    assert spec.tokens == Tokens("prompt.image")
    with pytest.raises(SteeringError, match="site: missing"):
        build_spec({Direction("d", (1.0,)): Add(1.0)}, None)


def test_records_bring_what_is_needed(sae):
    spec = build_spec({Record(7): Clamp(2.0), (Record(8), Record(9)): Add(1.0, shape="map")}, sae)
    single, group = spec.interventions
    assert single.max_activations == (4.0,)
    assert group.features == (8, 9)
    assert group.maps[0] == ((0.0, 1.0, 2.0), (3.0, 4.0, 5.0))
    assert spec.tokens.image == "frontal"


def test_numbers_take_it_from_the_arguments(sae):
    grid = np.ones((2, 3))
    spec = build_spec({1: Add(1.0), 2: Add(1.0, shape="map")}, sae, max_activations={1: 5.0}, maps={2: grid})
    assert spec.interventions[0].max_activations == (5.0,)
    assert spec.interventions[1].maps == (tuple(map(tuple, grid.tolist())),)
    assert build_spec({1: Add(1.0, unit="activation")}, sae).interventions[0].max_activations == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({1: Clamp(2.0)}, r"max_activations: not known for feature 1"),
        ({1: Add(2.0, shape="map")}, "maps: no mean map for feature 1"),
        ({Record(1, mean_map=None): Add(2.0, shape="map")}, "no mean map for feature 1"),
        ({"effusion": Ablate()}, "target 'effusion'"),
        ({True: Ablate()}, "target True"),
        ({(): Ablate()}, "either features or a direction"),
    ],
)
def test_what_is_missing_is_named(sae, changes, words):
    with pytest.raises(SteeringError, match=words):
        build_spec(changes, sae)
