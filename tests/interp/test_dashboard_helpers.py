"""What the dashboard gets from other rooms."""

from __future__ import annotations

import numpy as np
import pytest
import typer

from interp.commands.dashboard import _wanted
from interp.dashboard_helpers import helpers_of
from interp.opening import Opening
from interp.run import Run
from radiology.errors import InputError


@pytest.mark.usefixtures("short_reports")
def test_a_live_report_comes_with_its_proof_and_without_live_there_is_none(tiny_run: Run) -> None:
    assert helpers_of(tiny_run.path, "main").steer is None
    steer = helpers_of(tiny_run.path, "main", live=Opening()).steer
    assert steer is not None
    table = tiny_run.features.frame
    feature = int(table.sort_values("image_share", ascending=False)["feature"].iloc[0])
    study = tiny_run.study_index.frame["study_id"].iloc[0]
    result = steer(study, feature, 3.0, "add")
    assert result["proof"]["tokens"]["image"] > 0
    assert result["unsteered"]
    assert all(before != after for _, before, after in result["changes"])
    again = steer(study, feature, 3.0, "add")
    assert again["steered"] == result["steered"]
    with pytest.raises(InputError):
        steer("nobody", feature, 3.0, "add")


def test_findings_are_read_and_words_become_vectors_where_the_package_is_there(tiny_run: Run) -> None:
    helpers = helpers_of(tiny_run.path, "main")
    assert helpers.read_findings is not None
    assert "pleural_effusion:left=present" in helpers.read_findings("There is a small left pleural effusion.")
    if helpers.embed is not None:  # all-MiniLM-L6-v2 is no dependency
        vectors = helpers.embed(["enlarged heart", "cardiomegaly", "pacemaker lead"])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
        assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_pages_are_asked_for_by_number_or_by_name() -> None:
    assert _wanted(None) == (None, None)
    assert _wanted("500") == (500, None)
    assert _wanted("12,407") == (None, (12, 407))
    assert _wanted("12,") == (None, (12,))
    for wrong in ("", "x", "-3", "1,x"):
        with pytest.raises(typer.BadParameter):
            _wanted(wrong)
