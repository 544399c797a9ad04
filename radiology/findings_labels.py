"""From findings to the fourteen observations of CheXpert (arXiv 1901.07031)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from radiology.findings import STATUS_RANK, Finding
from radiology.vocabulary import CHEXPERT_CONCEPTS, CONCEPTS

if TYPE_CHECKING:
    from radiology.study import Status

#: How CheXpert writes its observations.
CHEXPERT_NAMES: dict[str, str] = {
    "no_finding": "No Finding",
    "enlarged_cardiomediastinum": "Enlarged Cardiomediastinum",
    "cardiomegaly": "Cardiomegaly",
    "lung_lesion": "Lung Lesion",
    "lung_opacity": "Lung Opacity",
    "pulmonary_edema": "Edema",
    "consolidation": "Consolidation",
    "pneumonia": "Pneumonia",
    "atelectasis": "Atelectasis",
    "pneumothorax": "Pneumothorax",
    "pleural_effusion": "Pleural Effusion",
    "pleural_other": "Pleural Other",
    "fracture": "Fracture",
    "support_devices": "Support Devices",
}

#: Devices that stay in the body after an operation and support nothing are no support devices.
_NO_SUPPORT = frozenset({"sternotomy_wires", "surgical_clips", "orthopedic_hardware"})
_ALSO: dict[str, str] = {
    "lung_nodule": "lung_lesion",
    "vascular_congestion": "pulmonary_edema",
    "heart_failure": "pulmonary_edema",
}
#: Doubt that leans towards "there": by convention, people who index reports write such findings down.
LEANING: frozenset[str] = frozenset(
    {"probable", "probably", "likely", "presumed", "presumably", "versus", "vs", "vs.", "or", "and/or"}
)


def observation_of(concept: str) -> str | None:
    """The observation of CheXpert that a concept counts for, by our keys; ``None`` for e.g. scoliosis."""
    if concept in CHEXPERT_NAMES:
        return concept
    if CONCEPTS[concept].kind == "device":
        return None if concept in _NO_SUPPORT else "support_devices"
    return _ALSO.get(concept)


def chexpert_labels(findings: Iterable[Finding], leaning: Status = "present") -> dict[str, Status]:
    """Observation (our key, see :data:`CHEXPERT_NAMES`) → present, absent or uncertain.

    What the report does not speak of is left out. Where it says several things of one observation, present wins over
    uncertain and uncertain over absent. Observations are not derived from each other: a consolidation is no lung
    opacity unless the report names one too. Nor is a blunted costophrenic angle an effusion: it may be a scar, and
    indexes of public collections keep the two apart.

    ``no_finding`` is always there: present where nothing of the vocabulary is affirmed or in doubt, devices aside
    (surgical clips and old wires included), else absent.

    Args:
        leaning: what a finding counts for whose doubt is one of :data:`LEANING` ("probable", "versus").
    """
    table: dict[str, Status] = {}
    abnormal = False
    for finding in findings:
        status: Status = leaning if finding.hedge in LEANING else finding.status
        device = CONCEPTS[finding.concept].kind == "device"
        abnormal |= status != "absent" and not device and finding.concept != "no_finding"
        observation = observation_of(finding.concept)
        if observation is not None and STATUS_RANK[status] >= STATUS_RANK[table.get(observation, "absent")]:
            table[observation] = status
    table["no_finding"] = "absent" if abnormal else "present"
    return {key: table[key] for key in CHEXPERT_CONCEPTS if key in table}
