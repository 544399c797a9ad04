"""Laws of loss recovered: 1 for a perfect reconstruction, 0 for the mean."""

from __future__ import annotations

import pytest
import torch

from activations import open_model
from activations.models.base import ReportModel
from activations.roles import Role, parse_roles
from interp.evaluation.fidelity import loss_recovered, with_report
from interp.evaluation.splicing import Place
from radiology.phantom.cases import phantom_studies
from radiology.study import Study
from sae import MatryoshkaSAE, SAEConfig

ROLES = tuple(parse_roles("content"))


@pytest.fixture(scope="module")
def model() -> ReportModel:
    return open_model("phantom:random")


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    return with_report(phantom_studies(5, seed=3), 3)


def perfect(d: int) -> MatryoshkaSAE:
    """Features are the dimensions and their negatives: x = relu(x) − relu(−x)."""
    sae = MatryoshkaSAE(SAEConfig(d=d, n_features=2 * d, k=d))
    with torch.no_grad():
        both = torch.cat([torch.eye(d), -torch.eye(d)])
        sae.W_enc.copy_(both)
        sae.W_dec.copy_(both)
    return sae


def test_a_perfect_sae_loses_nothing(model: ReportModel, studies: list[Study]) -> None:
    found = loss_recovered(model, perfect(128), Place("language.2", ROLES), studies, batch=2)
    assert found["loss_sae"] == pytest.approx(found["loss_clean"], abs=1e-4)
    assert found["loss_studies"] == 3
    assert found["loss_tokens"] > 30


def test_the_mean_recovers_nothing(model: ReportModel, studies: list[Study]) -> None:
    sae = perfect(128)
    clean = loss_recovered(model, sae, Place("language.2", (Role.IMAGE,)), studies)
    with torch.no_grad():
        sae.W_dec.zero_()
        sae.b_dec.copy_(_mean_of_image_tokens(model, studies))
    found = loss_recovered(model, sae, Place("language.2", (Role.IMAGE,)), studies)
    assert found["loss_sae"] == pytest.approx(clean["loss_ablated"], abs=1e-4)


def _mean_of_image_tokens(model: ReportModel, studies: list[Study]) -> torch.Tensor:
    from activations.hooks import capture

    rows = []
    for study in studies:
        inputs = model.encode(study, study.report)
        with capture(model, ["language.2"]) as recorder:
            model.forward(inputs)
        rows.append(recorder.take("language.2")[0, inputs.tokens[0].where([Role.IMAGE])])
    return torch.cat(rows).mean(0)


def test_studies_without_reports_are_refused(model: ReportModel) -> None:
    with pytest.raises(ValueError, match="no study has a report"):
        loss_recovered(model, perfect(128), Place("language.2", ROLES), [])
