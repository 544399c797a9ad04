from __future__ import annotations

import torch

from activations.models import open_model
from activations.models.phantom import open_phantom
from activations.models.random_weights import with_random_weights


def test_every_weight_is_drawn_anew_as_training_begins() -> None:
    trained = open_phantom("late")
    before = {name: value.clone() for name, value in trained.module.state_dict().items()}
    fingerprint = trained.fingerprint
    twin = with_random_weights(trained)
    after = twin.module.state_dict()
    assert [name for name, value in after.items() if torch.equal(value, before[name])] == []
    norms = [value for name, value in after.items() if "norm" in name and name.endswith("weight")]
    assert norms
    assert all(bool((value == 1).all()) for value in norms)
    assert twin.name == "phantom:late:random"
    assert twin.fingerprint != fingerprint


def test_the_twin_is_the_same_every_time_and_leaves_the_caller_s_generator_alone() -> None:
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    first, second = with_random_weights(open_phantom("late")), with_random_weights(open_phantom("late"))
    assert torch.equal(torch.rand(3), wanted)
    assert first.fingerprint == second.fingerprint
    pairs = zip(first.module.parameters(), second.module.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_another_seed_gives_other_weights_and_another_fingerprint() -> None:
    first, second = with_random_weights(open_phantom("late"), 1), with_random_weights(open_phantom("late"), 2)
    assert first.fingerprint != second.fingerprint
    assert not torch.equal(first.module.language_model.lm_head.weight, second.module.language_model.lm_head.weight)


def test_parameters_stay_without_gradients() -> None:
    assert not any(p.requires_grad for p in with_random_weights(open_phantom("late")).module.parameters())


def test_the_phantom_s_own_control_is_a_variant() -> None:
    assert open_model("phantom:random").name == "phantom:random"
