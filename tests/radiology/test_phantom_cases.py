from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from radiology.errors import InputError
from radiology.phantom.cases import (
    PhantomStudy,
    box_of,
    counterfactual_pair,
    draw_case,
    phantom_case,
    phantom_studies,
    phantom_study,
)
from radiology.phantom.factors import FIELD_OF_KEY, factor_names
from radiology.phantom.sheet import contact_sheet


def dilated(mask: np.ndarray, by: int) -> np.ndarray:
    for _ in range(by):
        wide = np.pad(mask, 1)
        height, width = mask.shape
        mask = np.logical_or.reduce(
            [wide[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        )
    return mask


def content(study: PhantomStudy) -> tuple:
    pixels = {name: study.pixels(name).tobytes() for name in study.images}
    text = (study.report, study.prior_report, study.indication, study.technique, study.comparison, study.grounded)
    return study.study_id, study.patient_id, pixels, text, study.factors, study.nuisance, study.labels, study.metadata


def test_a_study_is_decided_by_seed_and_index() -> None:
    first = [content(study) for study in phantom_studies(6, seed=3)]
    again = [content(phantom_study(3, index)) for index in reversed(range(6))]
    assert first == again[::-1]
    assert content(phantom_study(4, 0))[2:] != first[0][2:]


def test_a_series_can_start_anywhere() -> None:
    assert [s.study_id for s in phantom_studies(3, seed=1, start=7)] == [
        phantom_study(1, i).study_id for i in (7, 8, 9)
    ]


def test_drawing_a_case_needs_no_words_and_gives_the_same_pixels() -> None:
    study = phantom_study(0, 11)
    for name, image in draw_case(phantom_case(0, 11)).images().items():
        np.testing.assert_array_equal(image, study.pixels(name))


def test_views_and_priors_mix_independently() -> None:
    cases = [phantom_case(0, index) for index in range(1500)]
    lateral = np.array([case.has_lateral for case in cases])
    prior = np.array([case.prior_factors is not None for case in cases])
    assert abs(lateral.mean() - 0.35) < 0.04
    assert abs(prior.mean() - 0.35) < 0.04
    assert abs(np.corrcoef(lateral, prior)[0, 1]) < 0.08


def test_a_prior_shows_the_same_person_on_another_film() -> None:
    study = next(study for study in phantom_studies(20) if study.prior_factors is not None)
    now, before = study.case.nuisance, study.case.prior_nuisance
    assert before is not None
    assert (now.anatomy_seed, now.sex, now.age, now.habitus) == (
        before.anatomy_seed,
        before.sex,
        before.age,
        before.habitus,
    )
    assert now.noise != before.noise
    assert study.prior_report is not None
    assert study.comparison is not None
    assert "prior_frontal" in study.images


def test_without_a_prior_there_is_no_word_of_one() -> None:
    study = next(study for study in phantom_studies(20) if study.prior_factors is None)
    assert study.prior_report is None
    assert study.comparison is None
    assert "prior_frontal" not in study.images


def test_splits_and_bodies_are_by_patient() -> None:
    cases = [phantom_case(0, index) for index in range(2000)]
    by_patient: dict[str, list] = {}
    for case in cases:
        by_patient.setdefault(case.patient_id, []).append(case)
    assert len(cases) / len(by_patient) == pytest.approx(1.25, abs=0.01)
    for visits in by_patient.values():
        assert len({(c.split, c.nuisance.sex, c.nuisance.age, c.nuisance.anatomy_seed) for c in visits}) == 1
    share = {name: np.mean([visits[0].split == name for visits in by_patient.values()]) for name in ("train", "val")}
    assert abs(share["train"] - 0.8) < 0.04
    assert abs(share["val"] - 0.1) < 0.03
    assert len({case.study_id for case in cases}) == len(cases)


def test_labels_masks_and_metadata_agree() -> None:
    for study in phantom_studies(12, seed=5):
        assert study.labels == study.factors.labels()
        assert {key for key in FIELD_OF_KEY if study.labels[key] == "present"} <= set(study.masks)
        assert set(study.masks) <= {key for key, status in study.labels.items() if status == "present"}
        assert set(study.lateral_masks) == (set(study.masks) if study.case.has_lateral else set())
        assert study.terms == "phantom"
        assert study.metadata is not None
        assert study.metadata["split"] == study.case.split


def test_boxes_hold_their_masks_tightly() -> None:
    for study in phantom_studies(12, seed=6):
        boxes = {box for sentence in study.grounded or () for box in sentence.boxes}
        for mask in study.masks.values():
            x0, y0, x1, y1 = (round(140 * value) for value in box_of(mask))
            assert 0 <= x0 < x1 <= 140
            assert 0 <= y0 < y1 <= 140
            assert mask[y0:y1, x0:x1].sum() == mask.sum()
            assert mask[y0].any()
            assert mask[y1 - 1].any()
            assert mask[:, x0].any()
            assert mask[:, x1 - 1].any()
            assert box_of(mask) in boxes


def test_a_negative_sentence_has_no_box() -> None:
    study = next(study for study in phantom_studies(40, seed=7) if not study.masks)
    assert study.grounded
    assert all(not sentence.boxes for sentence in study.grounded)
    assert " ".join(sentence.text for sentence in study.grounded) == study.report


def test_the_box_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="empty mask"):
        box_of(np.zeros((4, 4), bool))


@pytest.mark.parametrize("name", factor_names())
def test_a_counterfactual_differs_only_where_the_finding_is(name: str) -> None:
    for index in range(2):
        study, twin = counterfactual_pair(phantom_study(8, index), name)
        assert bool(getattr(study.factors, name)) != bool(getattr(twin.factors, name))
        others = [other for other in factor_names() if other != name]
        assert all(getattr(study.factors, other) == getattr(twin.factors, other) for other in others)
        assert (study.patient_id, study.nuisance) == (twin.patient_id, twin.nuisance)
        assert study.study_id != twin.study_id
        where = np.zeros((140, 140), bool)
        for view in (study, twin):
            for key, mask in view.masks.items():
                field = FIELD_OF_KEY.get(key, "nasogastric_tube")
                where |= mask if field == name else False
        changed = study.pixels("frontal") != twin.pixels("frontal")
        assert changed.any()
        assert not (changed & ~dilated(where, 2)).any()
        assert study.report != twin.report
        if "prior_frontal" in study.images:
            np.testing.assert_array_equal(study.pixels("prior_frontal"), twin.pixels("prior_frontal"))


def test_a_switch_and_back_changes_no_label() -> None:
    study = phantom_study(8, 3)
    _, without = counterfactual_pair(study, "pacemaker")
    _, back = counterfactual_pair(without, "pacemaker")
    assert back.labels == study.labels
    np.testing.assert_array_equal(back.pixels("frontal"), study.pixels("frontal"))


def test_an_unknown_factor_is_refused() -> None:
    with pytest.raises(InputError, match="fracture"):
        counterfactual_pair(phantom_study(0, 0), "fracture")


def test_a_planted_shortcut_holds() -> None:
    correlate = {("pneumothorax_left", "central_line"): 1.0, ("cardiomegaly", "pacemaker"): 0.0}
    cases = [phantom_case(2, index, correlate=correlate).factors for index in range(400)]
    assert any(case.pneumothorax_left for case in cases)
    assert all(case.central_line for case in cases if case.pneumothorax_left)
    assert not any(case.pacemaker for case in cases if case.cardiomegaly)
    assert any(case.pacemaker for case in cases if not case.cardiomegaly)


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="negative"):
        phantom_case(0, -1)


def test_studies_are_made_one_at_a_time() -> None:
    stream = phantom_studies(10**9)
    ids = [next(stream).study_id for _ in range(3)]
    assert all(a < b for a, b in pairwise(ids))


def test_the_contact_sheet_is_written_whole(tmp_path) -> None:
    from PIL import Image

    path = contact_sheet(tmp_path / "docs" / "sheet.png", n=2)
    assert Image.open(path).size == (2 * 284 + 4, 304 + 4)
    assert [entry.name for entry in path.parent.iterdir()] == ["sheet.png"]
    with pytest.raises(InputError, match="at least one"):
        contact_sheet(path, n=0)
