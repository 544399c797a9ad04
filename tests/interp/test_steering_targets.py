"""Laws of choosing what to steer: carriers come from one half of the patients, studies from the other."""

from __future__ import annotations

import numpy as np
import pytest

from interp.run import Run
from interp.steering_targets import carriers, room_for
from radiology.errors import InputError


def test_carriers_are_more_active_where_the_finding_is(tiny_run: Run) -> None:
    one = carriers(tiny_run, "main", ["cardiomegaly"], 5)["cardiomegaly"]
    assert len(set(one.features)) == len(one.features) <= 5
    assert list(one.weights) == sorted(one.weights, reverse=True)
    assert min(one.weights) > 0


def test_there_is_room_only_where_the_finding_is_not_yet(tiny_run: Run) -> None:
    studies = tiny_run.study_index
    select, _ = studies.halves(0)
    by_id = studies.frame.set_index("study_id")
    chosen_on = set(studies.frame["patient_id"][select])
    for goal, status in (("present", "absent"), ("absent", "present")):
        ids = room_for(tiny_run, "cardiomegaly", goal, 100)
        assert ids
        assert {by_id.loc[i, "labels"]["cardiomegaly"] for i in ids} == {status}
        assert not {by_id.loc[i, "patient_id"] for i in ids} & chosen_on
    assert len(room_for(tiny_run, "cardiomegaly", "present", 2)) == 2


def test_studies_with_a_prior_have_an_earlier_image(tiny_run: Run) -> None:
    every, some = (room_for(tiny_run, "pacemaker", "present", 1000, with_prior=p) for p in (False, True))
    assert 0 < len(some) < len(every)
    wanted = [study.study_id for study in tiny_run.studies.pick(every) if "prior_frontal" in study.images]
    assert some == wanted


def test_room_never_lies_in_unlabelled_studies(tiny_run: Run) -> None:
    ids = room_for(tiny_run, "pacemaker", "present", 1000)
    assert not np.isin(["picture-0", "picture-1"], ids).any()


def test_findings_that_nobody_has_are_refused(tiny_run: Run) -> None:
    with pytest.raises(InputError, match="no study has nonsense"):
        carriers(tiny_run, "main", ["nonsense"], 5)
    with pytest.raises(InputError, match="cache more studies"):
        carriers(tiny_run, "main", ["nasogastric_tube:misplaced"], 5)
    with pytest.raises(InputError, match="no study has nonsense"):
        room_for(tiny_run, "nonsense", "present", 5)
