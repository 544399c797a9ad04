from __future__ import annotations

import numpy as np
import pytest

from steering.errors import SteeringError
from steering.experiments.controls import Controls, control_specs
from steering.interventions.kinds import Add, Clamp
from steering.interventions.spec import Direction, Intervention, SteeringSpec

SPEC = SteeringSpec("language.1", (Intervention(Clamp(1.0), (5, 9), max_activations=(2.0, 3.0)),))
RATES = np.linspace(0.01, 0.5, 64)


def test_all_controls_are_on_by_default(sae):
    made = control_specs("effusion", SPEC, Controls(), 32, sae, RATES)
    assert [(c.control, c.draw) for c in made] == [
        *(("random", draw) for draw in range(5)),
        ("wrong_sign", 0),
        ("equal_rate", 0),
    ]
    assert all(c.spec.interventions == SPEC.interventions and c.spec.tokens == SPEC.tokens for c in made)


def test_random_directions_differ_by_draw_and_condition_and_repeat(sae):
    def vectors(name, seed=0):
        made = control_specs(name, SPEC, Controls(random=3, seed=seed), 32, sae, RATES)
        return [c.spec.redirect.vector for c in made if c.control == "random"]

    assert vectors("a") == vectors("a")
    assert len({*vectors("a"), *vectors("b"), *vectors("a", seed=1)}) == 9


def test_the_partner_points_where_the_partners_write(sae):
    made = control_specs("a", SPEC, Controls(random=1), 32, sae, RATES)
    redirect = made[-1].spec.redirect
    first, second = (int(number) for number in redirect.name.removeprefix("features ").split(", "))
    expected = (2 * sae.W_dec[first] + 3 * sae.W_dec[second]).detach().numpy()
    assert np.allclose(redirect.vector, expected, atol=1e-5)
    assert not {first, second} & {5, 9}
    assert first != second


def test_rates_are_needed_unless_switched_off(sae):
    with pytest.raises(SteeringError, match="firing_rates"):
        control_specs("a", SPEC, Controls(), 32, sae, None)
    without = control_specs("a", SPEC, Controls(random=1, equal_rate=False, wrong_sign=False), 32, sae, None)
    assert len(without) == 1


def test_a_direction_has_no_partner():
    push = SteeringSpec("language.1", (Intervention(Add(1.0), direction=Direction("d", (1.0,) * 32)),))
    made = control_specs("a", push, Controls(), 32, None, None)
    assert {c.control for c in made} == {"random", "wrong_sign"}


def test_controls_are_checked():
    with pytest.raises(SteeringError, match=r"controls.random: 0"):
        Controls(random=0)
    with pytest.raises(SteeringError, match="controls"):
        Controls.from_json({"placebo": 3})
    assert Controls.from_json(Controls(random=3, prompt_only="Effusion.").to_json()).prompt_only == "Effusion."
