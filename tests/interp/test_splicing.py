"""Laws of putting something else in a residual's place."""

from __future__ import annotations

import pytest
import torch

from activations import open_model
from activations.hooks import capture
from activations.models.base import ModelInputs, ReportModel
from activations.roles import Role
from interp.evaluation.fidelity import with_report
from interp.evaluation.splicing import Place, mean_of, mean_residual, random_error, replacing
from radiology.phantom.cases import phantom_studies

SITE = "language.2"
IMAGE = Place(SITE, (Role.IMAGE,))


@pytest.fixture(scope="module")
def model() -> ReportModel:
    return open_model("phantom:random")


@pytest.fixture(scope="module")
def inputs(model: ReportModel) -> ModelInputs:
    studies = with_report(phantom_studies(4, seed=3), 2)
    return model.encode_batch(studies, [study.report for study in studies])


def residual(model: ReportModel, inputs: ModelInputs) -> torch.Tensor:
    with capture(model, [SITE]) as recorder:
        model.forward(inputs)
    return recorder.take(SITE)


def spliced(model: ReportModel, inputs: ModelInputs, place: Place, value: float) -> torch.Tensor:
    with replacing(model, place, inputs, lambda rows_nd: torch.full_like(rows_nd, value)):
        return residual(model, inputs)


def test_only_tokens_of_the_roles_are_replaced(model: ReportModel, inputs: ModelInputs) -> None:
    before_btd, after_btd = residual(model, inputs), spliced(model, inputs, IMAGE, 7.0)
    for i, table in enumerate(inputs.tokens):
        chosen = torch.zeros(before_btd.shape[1], dtype=torch.bool)
        chosen[inputs.columns(i, table.where([Role.IMAGE]))] = True
        assert (after_btd[i, chosen] == 7).all()
        torch.testing.assert_close(after_btd[i, ~chosen], before_btd[i, ~chosen])


def test_tokens_over_the_norm_stay(model: ReportModel, inputs: ModelInputs) -> None:
    before_btd = residual(model, inputs)
    norm_bt = before_btd.norm(dim=2)
    limit = float(norm_bt.median())
    after_btd = spliced(model, inputs, Place(SITE, tuple(Role), limit), 7.0)
    kept_bt = (after_btd == before_btd).all(2)
    padding = torch.zeros_like(kept_bt)
    for i, columns in enumerate(inputs.padding):
        padding[i, :columns] = True
    assert torch.equal(kept_bt | padding, (norm_bt > limit) | padding)


def test_written_tokens_are_replaced_only_where_reports_are_meant(model: ReportModel, inputs: ModelInputs) -> None:
    seen: dict[bool, int] = {}
    prompts = model.encode_batch(with_report(phantom_studies(4, seed=3), 2))
    for with_reports in (False, True):
        rows: list[int] = []

        def watch(rows_nd: torch.Tensor, rows: list[int] = rows) -> torch.Tensor:
            rows.append(len(rows_nd))
            return rows_nd

        place = Place(SITE, (Role.IMAGE, Role.REPORT) if with_reports else (Role.IMAGE,))
        with replacing(model, place, prompts, watch):
            model.generate(prompts, max_new_tokens=5)
        seen[with_reports] = len(rows)
    assert seen == {False: 1, True: 5}  # the prompt, and with reports every written token but the last


def test_the_mean_is_that_of_the_replaced_tokens(model: ReportModel, inputs: ModelInputs) -> None:
    mean_d = mean_residual(model, IMAGE, [inputs])
    whole_btd = residual(model, inputs)
    rows_nd = torch.cat(
        [whole_btd[i, inputs.columns(i, table.where([Role.IMAGE]))] for i, table in enumerate(inputs.tokens)]
    )
    torch.testing.assert_close(mean_d, rows_nd.mean(0), atol=1e-5, rtol=1e-4)
    assert torch.equal(mean_of(mean_d)(rows_nd)[5], mean_d)
    with pytest.raises(ValueError, match="no token of the roles"):
        mean_residual(model, Place(SITE, (Role.PRIOR_REPORT,)), [model.encode_batch(phantom_studies_without_prior())])


def phantom_studies_without_prior() -> list:  # type: ignore[type-arg]
    return [study for study in phantom_studies(20, seed=3) if study.prior_report is None][:1]


def test_a_random_error_has_the_length_of_the_one_it_stands_for() -> None:
    rows_nd = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    made_nd = random_error(lambda x_nd: 0.5 * x_nd, seed=1)(rows_nd)
    torch.testing.assert_close((made_nd - rows_nd).norm(dim=1), 0.5 * rows_nd.norm(dim=1))
    again_nd = random_error(lambda x_nd: 0.5 * x_nd, seed=1)(rows_nd)
    assert torch.equal(made_nd, again_nd)


def test_a_hook_that_never_ran_is_an_error(model: ReportModel, inputs: ModelInputs) -> None:
    with pytest.raises(RuntimeError, match="never ran"), replacing(model, IMAGE, inputs, mean_of(torch.zeros(128))):
        pass
