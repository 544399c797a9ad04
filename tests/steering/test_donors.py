from __future__ import annotations

import numpy as np
import pytest

from radiology.study import Study
from steering.errors import SteeringError
from steering.tracing.donors import contrast, donor_pairs, sentences_of


def study(number, report, names=("frontal",), **fields):
    image = np.random.default_rng(number).integers(0, 256, (4, 6), dtype=np.uint8)
    return Study(f"s{number}", f"p{number}", dict.fromkeys(names, image), "own", report=report, **fields)


CALM = "The heart size is normal. No pleural effusion. No pneumothorax."
BIG = "The heart is enlarged. No pleural effusion."


def test_donors_differ_from_their_recipients_in_the_finding_only():
    studies = [
        study(0, CALM, indication="Cough."),
        study(1, BIG, indication="Pain."),
        study(2, BIG, ("frontal", "lateral")),
    ]
    [(recipient, donor)] = donor_pairs(studies, ["cardiomegaly"], 3)["cardiomegaly"]
    assert (recipient.study_id, donor.study_id) == ("s0", "s1")  # s2 has another number of images
    assert donor.indication == recipient.indication == "Cough."
    assert sentences_of(recipient.report)[1:] == sentences_of(donor.report)[1:]
    assert sentences_of(donor.report)[0] == "The heart is enlarged."


def test_labels_come_before_reports():
    said = [study(0, BIG, labels={"cardiomegaly": "absent"}), study(1, BIG)]
    [(recipient, _)] = donor_pairs(said, ["cardiomegaly"], 1)["cardiomegaly"]
    assert recipient.study_id == "s0"


def test_nobody_is_their_own_donor():
    twice = [study(0, CALM), Study("other", "p0", study(0, BIG).images, "own", report=BIG)]
    with pytest.raises(SteeringError, match="1 studies without it, 1 with a sentence"):
        donor_pairs(twice, ["cardiomegaly"], 1)
    with pytest.raises(SteeringError, match="0 with a sentence"):
        donor_pairs([study(0, CALM)], ["cardiomegaly"], 1)


def test_a_finding_that_is_not_named_gets_its_sentence_where_the_donor_has_it():
    without, with_it = contrast(CALM, "No pacemaker.", "There is a pacemaker.", "pacemaker", 0.0)
    assert without == CALM
    assert with_it == f"There is a pacemaker. {CALM}"
    without, with_it = contrast(CALM, "No effusion.", "There is an effusion.", "pleural_effusion")
    assert without == "The heart size is normal. No effusion. No pneumothorax."
    assert with_it == "The heart size is normal. There is an effusion. No pneumothorax."
