from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from steering.errors import SteeringError
from steering.experiments.damage import DamageMeter, calibrate_damage, report_loss
from steering.experiments.design import at_strength
from steering.interventions.apply import steer
from steering.interventions.kinds import Ablate, Add
from steering.interventions.spec import Direction, Intervention, SteeringSpec, Tokens

PUSH = Direction("push", tuple(torch.linspace(-1, 1, 32).tolist()))


def spec(site="language.1", kind=None, scope="all"):
    return SteeringSpec(site, (Intervention(kind or Add(1.0), direction=PUSH),), Tokens(scope))


def test_the_loss_is_that_of_the_report_and_its_end(model, studies):
    inputs = model.encode_batch(studies, ["w7 w8 w9", "w10", "w7 w8", "w9"])
    logits_btv = model.forward(inputs)
    expected = 0.0
    for row, words in enumerate((3, 1, 2, 1)):
        ids = inputs.input_ids_bt[row, -words - 1 :]
        expected -= float(logits_btv[row, -words - 2 : -1].log_softmax(-1)[range(words + 1), ids].sum())
    loss, count = report_loss(logits_btv, inputs)
    assert count == 7 + 4
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("site", ["projector", "language.0", "language.2"])
def test_replayed_damage_is_that_of_the_whole_pass(model, studies, site):
    asked = spec(site, scope="prompt.image" if site == "projector" else "all")
    meter = DamageMeter(model, None, asked, studies, batch=2)
    inputs = model.encode_batch(studies, [study.report for study in studies])
    with steer(model, None, at_strength(asked, 3.0)):
        loss, count = report_loss(model.forward(inputs), inputs)
    clean, _ = report_loss(model.forward(inputs), inputs)
    assert meter.base == pytest.approx(clean / count, rel=1e-4)
    assert meter(3.0) == pytest.approx((loss - clean) / count, abs=1e-4)


def test_the_strength_of_a_damage(model, studies):
    found = calibrate_damage(model, None, spec("language.2", scope="generated"), studies, 0.06)
    assert found.reached
    assert dict(found.curve)[found.strength] == pytest.approx(0.06, rel=0.06)
    assert found.n == 4
    assert DamageMeter(model, None, spec("language.2", scope="generated"), studies)(found.strength) == pytest.approx(
        0.06, rel=0.06
    )


def test_what_no_strength_does_is_said(model, studies):
    found = calibrate_damage(model, None, spec(scope="prompt.image"), studies, 1e6)
    assert not found.reached
    assert "not reached" in found.note


def test_wrong_questions(model, sae, studies):
    for call, words in (
        (lambda: calibrate_damage(model, None, spec(), studies, 0.0), "damage: 0.0"),
        (lambda: calibrate_damage(model, None, spec(), []), "studies: none given"),
        (lambda: calibrate_damage(model, None, spec(), [replace(studies[0], report=None)]), "'s0' has no report"),
        (
            lambda: calibrate_damage(model, sae, SteeringSpec("language.1", (Intervention(Ablate(), (5,)),)), studies),
            "ablate has no strength",
        ),
    ):
        with pytest.raises(SteeringError, match=words):
            call()
