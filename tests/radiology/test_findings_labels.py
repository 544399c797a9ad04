"""From findings to the fourteen observations of CheXpert."""

from __future__ import annotations

import pytest

from radiology.findings import read_report
from radiology.findings_labels import CHEXPERT_NAMES, chexpert_labels, observation_of
from radiology.vocabulary import CHEXPERT_CONCEPTS, CONCEPTS


@pytest.mark.parametrize(
    ("report", "labels"),
    [
        ("", {"no_finding": "present"}),
        ("No acute disease.", {"no_finding": "present"}),
        ("Left chest tube.", {"no_finding": "present", "support_devices": "present"}),
        ("Healed sternotomy.", {"no_finding": "present"}),
        ("Scoliosis.", {"no_finding": "absent"}),
        ("Right nodule.", {"no_finding": "absent", "lung_lesion": "present"}),
        ("Vascular congestion.", {"no_finding": "absent", "pulmonary_edema": "present"}),
        ("Right consolidation.", {"no_finding": "absent", "consolidation": "present"}),
        ("No effusion. Possible effusion.", {"no_finding": "absent", "pleural_effusion": "uncertain"}),
        ("Blunting of the left costophrenic angle.", {"no_finding": "absent"}),
    ],
)  # fmt: skip
def test_labels_of_a_report(report: str, labels: dict[str, str]) -> None:
    assert chexpert_labels(read_report(report)) == labels


def test_a_leaning_doubt_counts_as_the_caller_says() -> None:
    findings = read_report("Atelectasis versus pneumonia. Possible effusion.")
    assert chexpert_labels(findings)["pneumonia"] == "present"
    assert chexpert_labels(findings, leaning="uncertain")["pneumonia"] == "uncertain"
    assert chexpert_labels(findings)["pleural_effusion"] == "uncertain"


def test_observations_are_those_of_chexpert_in_its_order() -> None:
    assert tuple(CHEXPERT_NAMES) == CHEXPERT_CONCEPTS
    assert {observation_of(key) for key in CONCEPTS} - {None} <= set(CHEXPERT_CONCEPTS)
