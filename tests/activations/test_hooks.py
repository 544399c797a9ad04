from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from activations.hooks import HookError, canonical_site, capture, is_image_site, positions_for, rows_for
from activations.models.base import ReportModel
from activations.roles import Role
from radiology.errors import InputError
from radiology.study import Study


def n_hooks(model: Any) -> int:
    """Forward hooks of all sites; transformers keeps some of its own."""
    return sum(len(module._forward_hooks) for module in model.sites().values())


class Block(nn.Module):
    """Adds one; ``form`` decides how the result is wrapped."""

    def __init__(self, form: Any = lambda h: h) -> None:
        super().__init__()
        self.form = form

    def forward(self, h: torch.Tensor) -> Any:
        return self.form(h + 1)


def tiny(*blocks: nn.Module) -> Any:
    return SimpleNamespace(name="tiny", sites=lambda: {f"language.{i}": block for i, block in enumerate(blocks)})


def test_output_of_tensor_and_tuple_modules_is_the_same() -> None:
    plain, wrapped = Block(), Block(lambda h: (h, "cache"))
    with capture(tiny(plain, wrapped), ["language.0", "language.1"]) as recorder:
        plain(torch.zeros(2, 3, 4))
        wrapped(torch.zeros(2, 3, 4))
    assert torch.equal(recorder.take("language.0"), recorder.take("language.1"))


def test_output_is_not_copied_and_has_no_gradient() -> None:
    block, h = Block(), torch.zeros(1, 2, 3, requires_grad=True)
    with capture(tiny(block), ["language.0"]) as recorder:
        out = block(h)
    taken = recorder.take("language.0")
    assert taken.data_ptr() == out.data_ptr()
    assert not taken.requires_grad


def test_steps_of_a_generation_are_joined_in_order() -> None:
    block = Block()
    with capture(tiny(block), ["language.0"]) as recorder:
        for length, value in ((3, 0.0), (1, 1.0), (1, 2.0)):
            block(torch.full((2, length, 4), value))
    assert recorder.fired == {"language.0": 3}
    assert recorder.take("language.0")[0, :, 0].tolist() == [1, 1, 1, 2, 3]


def test_taking_twice_is_an_error() -> None:
    block = Block()
    with capture(tiny(block), ["language.0"]) as recorder:
        block(torch.zeros(1, 1, 1))
        recorder.take("language.0")
        with pytest.raises(HookError, match=r"language\.0: the hook never fired"):
            recorder.take("language.0")


def test_hook_that_never_fired_is_an_error_that_names_the_site() -> None:
    first, second = Block(), Block()
    with (
        pytest.raises(HookError, match=r"language\.1: the hook never fired"),
        capture(tiny(first, second), ["language.0", "language.1"]),
    ):
        first(torch.zeros(1, 1, 1))


def test_output_changed_in_place_is_noticed() -> None:
    block = Block()
    with capture(tiny(block), ["language.0"]) as recorder:
        block(torch.zeros(1, 2, 3)).add_(1)
    with pytest.raises(HookError, match="in place"):
        recorder.take("language.0")


@pytest.mark.parametrize("form", [lambda h: h[0], lambda h: {"h": h}, lambda h: ()])
def test_output_of_unknown_form_is_an_error(form: Any) -> None:
    block = Block(form)
    with (
        pytest.raises(HookError, match=r"language\.0: expected an output of three axes"),
        capture(tiny(block), ["language.0"]),
    ):
        block(torch.zeros(1, 2, 3))


def test_hooks_are_removed_after_an_exception(model: ReportModel) -> None:
    def fail_inside() -> None:
        with capture(model, ["language.0", "projector"]):
            assert n_hooks(model) == before + 2
            raise KeyError("mine")

    before = n_hooks(model)
    with pytest.raises(KeyError, match="mine"):
        fail_inside()
    assert n_hooks(model) == before


def test_unknown_or_repeated_site_is_refused_before_any_hook_is_set(model: ReportModel) -> None:
    before = n_hooks(model)
    with (
        pytest.raises(InputError, match=r"no 'language\.99'; it has vision\.0"),
        capture(model, ["language.0", "language.99"]),
    ):
        pass
    with pytest.raises(InputError, match="twice"), capture(model, ["language.0", "blocks.0.hook_resid_post"]):
        pass
    assert n_hooks(model) == before


def test_alias_names_the_same_site(model: ReportModel, studies: list[Study]) -> None:
    assert canonical_site("blocks.15.hook_resid_post") == "language.15"
    with capture(model, ["blocks.1.hook_resid_post"]) as recorder:
        model.forward(model.encode(studies[0]))
    assert recorder.take("language.1").shape[-1] == model.width("language.1")


def test_stopping_early_changes_nothing_that_is_recorded(model: ReportModel, studies: list[Study]) -> None:
    inputs, sites = model.encode_batch(studies[:3]), ["vision.1", "language.2"]
    with capture(model, sites) as whole:
        model.forward(inputs)
    before, reached = n_hooks(model), False
    with capture(model, sites, stop=True) as stopped:
        model.forward(inputs)
        reached = True
    assert not reached
    assert n_hooks(model) == before
    for site in sites:
        assert torch.equal(whole.take(site), stopped.take(site))


def test_rows_of_a_batch_are_those_of_each_study_alone(model: ReportModel, studies: list[Study]) -> None:
    def rows(batch: list[Study]) -> list[torch.Tensor]:
        inputs = model.encode_batch(batch, [study.report for study in batch])
        with capture(model, ["language.2"]) as recorder:
            model.forward(inputs)
        return rows_for("language.2", recorder.take("language.2"), inputs)

    for together, study in zip(rows(studies[:4]), studies[:4], strict=True):
        torch.testing.assert_close(together, rows([study])[0], atol=1e-4, rtol=1e-4)


def test_image_rows_are_what_the_decoder_reads_at_image_tokens(model: ReportModel, studies: list[Study]) -> None:
    inputs = model.encode_batch(studies[:4])  # one and three images a study
    seen: list[torch.Tensor] = []
    first_block = model.sites()["language.0"]
    handle = first_block.register_forward_pre_hook(lambda module, args, kwargs: seen.append(args[0]), with_kwargs=True)
    try:
        with capture(model, ["projector", "vision.3"]) as recorder:
            model.forward(inputs)
    finally:
        handle.remove()
    rows = rows_for("projector", recorder.take("projector"), inputs)
    for i, table in enumerate(inputs.tokens):
        positions = positions_for("projector", table)
        assert positions.tolist() == table.where([Role.IMAGE]).tolist()
        torch.testing.assert_close(rows[i], seen[0][i, inputs.columns(i, positions)])


def test_class_token_is_dropped(model: ReportModel, studies: list[Study]) -> None:
    inputs = model.encode(studies[0])
    with capture(model, ["vision.0"]) as recorder:
        model.forward(inputs)
    output = recorder.take("vision.0")
    patches = model.grid[0] * model.grid[1]
    assert output.shape[:2] == (3, patches + 1)
    rows = rows_for("vision.0", output, inputs)[0]
    assert torch.equal(rows, output[:, 1:].reshape(-1, output.shape[-1]))


def test_output_that_does_not_fit_the_prompts_is_an_error(model: ReportModel, studies: list[Study]) -> None:
    inputs = model.encode_batch(studies[:2])
    images, patches = 4, model.grid[0] * model.grid[1]
    with pytest.raises(HookError, match="does not fit image 0"):
        rows_for("projector", torch.zeros(images, patches - 1, 4), inputs)
    with pytest.raises(HookError, match="holds 5 images"):
        rows_for("projector", torch.zeros(images + 1, patches, 4), inputs)
    with pytest.raises(HookError, match="does not hold 2 rows"):
        rows_for("language.0", torch.zeros(2, 5, 4), inputs)


def test_vision_sites_have_rows_for_image_tokens_only(model: ReportModel, studies: list[Study]) -> None:
    table = model.encode(studies[1]).tokens[0]
    assert is_image_site("projector")
    assert not is_image_site("blocks.0.hook_resid_post")
    assert len(positions_for("language.0", table)) == len(table)
    assert np.all(table.role[positions_for("vision.0", table)] == Role.IMAGE)
