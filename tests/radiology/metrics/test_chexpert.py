"""F1 over CheXpert's observations: counted by hand, and beside scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from radiology.metrics.chexpert import FIVE, chexpert_f1, label_matrix, study_f1
from radiology.vocabulary import CHEXPERT_CONCEPTS


def test_labels_follow_what_reports_say() -> None:
    said = {
        "Large left effusion and cardiomegaly.": {"pleural_effusion", "cardiomegaly"},
        "Possible pneumonia.": {"pneumonia"},
        "No effusion. The heart is normal.": {"no_finding"},
        "ET tube in place. No pneumothorax.": {"no_finding", "support_devices"},
        "": set(),
    }
    matrix = label_matrix(list(said))
    for row, expected in zip(matrix, said.values(), strict=True):
        assert {key for key, there in zip(CHEXPERT_CONCEPTS, row, strict=True) if there} == expected


def test_doubt_can_be_left_out() -> None:
    place = CHEXPERT_CONCEPTS.index("pneumothorax")
    text = "Pneumothorax cannot be excluded."
    assert label_matrix([text])[0, place]
    assert not label_matrix([text], uncertain_counts=False)[0, place]


def test_it_is_the_f1_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    candidate, reference = rng.random((50, 14)) < 0.4, rng.random((50, 14)) < 0.4
    values = chexpert_f1(candidate, reference, draws=20)
    five = [CHEXPERT_CONCEPTS.index(key) for key in FIVE]
    assert values["micro_f1"].value == pytest.approx(f1_score(reference, candidate, average="micro"))
    assert values["macro_f1"].value == pytest.approx(f1_score(reference, candidate, average="macro"))
    assert values["micro_f1_5"].value == pytest.approx(
        f1_score(reference[:, five], candidate[:, five], average="micro")
    )
    for place, key in enumerate(CHEXPERT_CONCEPTS):
        assert values[key].value == pytest.approx(f1_score(reference[:, place], candidate[:, place]))


def test_what_neither_side_has_does_not_count_for_the_mean() -> None:
    only_effusion = np.zeros((3, 14), dtype=bool)
    only_effusion[:, CHEXPERT_CONCEPTS.index("pleural_effusion")] = True
    values = chexpert_f1(only_effusion, only_effusion, draws=5)
    assert values["macro_f1"].value == 1
    assert math.isnan(values["fracture"].value)
    nothing = np.zeros((1, 14), dtype=bool)
    assert math.isnan(study_f1(nothing, nothing)[0])
    assert study_f1(only_effusion[:1], nothing)[0] == 0
