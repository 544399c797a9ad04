"""The findings that this project can name: canonical keys, display names, and how reports write them.

A key (``pleural_effusion``) is what labels, tables and comparisons use. Covered are the findings of the phantom chest,
the fourteen observations of CheXpert (arXiv 1901.07031), and some more that chest reports often hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from radiology.errors import InputError

Kind = Literal["disease", "device", "overall"]


@dataclass(frozen=True)
class Concept:
    """A finding that a report can affirm or negate.

    ``synonyms`` are phrases in lower case, singular; ``sided`` says that left and right are told apart; ``broader`` is
    the key of the concept that contains this one (an endotracheal tube is a support device).
    """

    key: str
    name: str
    synonyms: tuple[str, ...] = ()
    kind: Kind = "disease"
    sided: bool = False
    broader: str | None = None


def _entry(
    key: str, name: str, synonyms: str = "", kind: Kind = "disease", sided: bool = False, broader: str | None = None
) -> Concept:
    """A concept whose synonyms are written as one comma-separated line."""
    return Concept(key, name, tuple(phrase for phrase in re.split(r",\s*", synonyms) if phrase), kind, sided, broader)


def _device(key: str, name: str, synonyms: str, sided: bool = False) -> Concept:
    return _entry(key, name, synonyms, "device", sided, "support_devices")


_ALL: tuple[Concept, ...] = (
    _entry(
        "pleural_effusion",
        "pleural effusion",
        "effusion, pleural fluid, hydrothorax, hemothorax, layering fluid, blunting of the costophrenic angle, "
        "blunting of the costophrenic sulcus, costophrenic angle blunting",
        sided=True,
    ),
    _entry(
        "cardiomegaly",
        "cardiomegaly",
        "cardiac enlargement, enlarged heart, enlarged cardiac silhouette, enlarged heart size, "
        "enlargement of the heart, enlargement of the cardiac silhouette",
        broader="enlarged_cardiomediastinum",
    ),
    _entry(
        "pneumothorax",
        "pneumothorax",
        "pneumothoraces, hydropneumothorax, apical pneumothorax, tension pneumothorax, ptx",
        sided=True,
    ),
    _entry(
        "consolidation",
        "consolidation",
        "focal consolidation, airspace consolidation, air space consolidation, lobar consolidation, "
        "consolidative opacity, consolidative opacities",
        sided=True,
        broader="lung_opacity",
    ),
    _entry(
        "pulmonary_edema",
        "pulmonary edema",
        "edema, oedema, pulmonary oedema, interstitial edema, alveolar edema, vascular congestion, "
        "pulmonary vascular congestion, pulmonary congestion, venous congestion, congestive heart failure, chf, "
        "fluid overload",
        broader="lung_opacity",
    ),
    _entry(
        "lung_nodule",
        "lung nodule",
        "nodule, pulmonary nodule, nodular opacity, nodular opacities, nodular density, nodular densities",
        sided=True,
        broader="lung_lesion",
    ),
    _device(
        "pacemaker",
        "pacemaker",
        "cardiac pacemaker, pacer, pacemaker lead, pacer lead, pacing lead, pacemaker device, icd, aicd, "
        "defibrillator, cardioverter defibrillator",
        sided=True,
    ),
    _device("endotracheal_tube", "endotracheal tube", "et tube, ett, tracheal tube, tracheostomy tube"),
    _device(
        "nasogastric_tube",
        "nasogastric tube",
        "ng tube, ngt, enteric tube, feeding tube, orogastric tube, og tube, gastric tube, nasoenteric tube, "
        "dobbhoff tube, dobbhoff",
    ),
    _device(
        "central_line",
        "central line",
        "central venous catheter, central venous line, central catheter, venous catheter, picc, picc line, ij line, "
        "ij catheter, jugular line, jugular catheter, jugular central venous catheter, subclavian line, "
        "subclavian catheter, port a cath, portacath, chest port, dialysis catheter, swan ganz catheter",
        sided=True,
    ),
    _device(
        "sternotomy_wires",
        "sternotomy wires",
        "sternotomy wire, sternal wire, median sternotomy wire, median sternotomy, sternotomy, cerclage wire",
    ),
    _entry(
        "atelectasis",
        "atelectasis",
        "atelectatic change, atelectases, subsegmental atelectasis, lobar collapse, collapse of the lung, volume loss",
        sided=True,
        broader="lung_opacity",
    ),
    _entry(
        "enlarged_cardiomediastinum",
        "enlarged cardiomediastinum",
        "enlarged cardiomediastinal silhouette, widened mediastinum, mediastinal widening, "
        "widening of the mediastinum, enlarged mediastinum, mediastinal enlargement",
    ),
    _entry(
        "fracture", "fracture", "rib fracture, fractured rib, compression fracture, clavicular fracture", sided=True
    ),
    _entry(
        "lung_lesion",
        "lung lesion",
        "lung mass, pulmonary mass, mass, masses, lesion, pulmonary lesion, cavitary lesion, neoplasm, tumor, "
        "malignancy",
        sided=True,
    ),
    _entry(
        "lung_opacity",
        "lung opacity",
        "opacity, opacities, opacification, airspace disease, air space disease, airspace opacity, airspace opacities, "
        "infiltrate, infiltration, hazy opacity, interstitial marking, interstitial opacity, interstitial opacities",
        sided=True,
    ),
    _entry(
        "pleural_other",
        "other pleural finding",
        "pleural thickening, pleural plaque, pleural scarring, pleural calcification, pleural abnormality",
        sided=True,
    ),
    _entry(
        "pneumonia",
        "pneumonia",
        "bronchopneumonia, aspiration pneumonia, infectious process, lung infection",
        sided=True,
        broader="consolidation",
    ),
    _entry(
        "support_devices",
        "support devices",
        "support device, lines and tubes, tubes and lines, support apparatus, monitoring and support device",
        "device",
    ),
    _entry(
        "no_finding",
        "no finding",
        "no acute cardiopulmonary process, no acute cardiopulmonary abnormality, no acute cardiopulmonary disease, "
        "no acute cardiopulmonary finding, no acute cardiopulmonary abnormalities, no acute intrathoracic process, "
        "no acute abnormality, no acute findings, normal chest radiograph, normal chest, normal chest x ray, "
        "unremarkable chest radiograph",
        "overall",
    ),
    _entry("hernia", "hernia", "hiatal hernia, hiatus hernia, diaphragmatic hernia"),
    _entry("emphysema", "emphysema", "emphysematous change, bullous change, copd, bulla, bullae"),
    _entry(
        "fibrosis",
        "fibrosis",
        "pulmonary fibrosis, interstitial fibrosis, fibrotic change, interstitial lung disease, honeycombing",
        sided=True,
    ),
    _entry(
        "granuloma",
        "granuloma",
        "calcified granuloma, granulomatous disease, calcified nodule",
        sided=True,
        broader="lung_nodule",
    ),
    _entry("scoliosis", "scoliosis", "dextroscoliosis, levoscoliosis, scoliotic curvature"),
    _device(
        "chest_tube",
        "chest tube",
        "thoracostomy tube, pleural drain, pleural catheter, pleural tube, pigtail catheter, chest drain",
        sided=True,
    ),
)

#: Every concept by its key.
CONCEPTS: dict[str, Concept] = {concept.key: concept for concept in _ALL}

#: The findings of the phantom chest.
PHANTOM_CONCEPTS: tuple[str, ...] = tuple(concept.key for concept in _ALL[:11])

#: The fourteen observations of CheXpert, in its order, by our keys.
CHEXPERT_CONCEPTS: tuple[str, ...] = (
    "no_finding",
    "enlarged_cardiomediastinum",
    "cardiomegaly",
    "lung_lesion",
    "lung_opacity",
    "pulmonary_edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural_effusion",
    "pleural_other",
    "fracture",
    "support_devices",
)

#: Phrases that hold a synonym but mean something else.
NOT_CONCEPTS: tuple[str, ...] = (
    "subcutaneous emphysema",
    "pericardial effusion",
    "joint effusion",
    "mass effect",
    "soft tissue edema",
    "bronchial wall edema",
)


def concept(key: str) -> Concept:
    """The concept with this key; InputError names the keys that exist."""
    try:
        return CONCEPTS[key]
    except KeyError:
        raise InputError(f"concept {key!r} does not exist; choose one of {sorted(CONCEPTS)}") from None


def find_concept(text: str) -> Concept | None:
    """The concept that ``text`` as a whole names (key, display name or synonym, singular or plural), else ``None``."""
    return concept_of_phrase(re.sub(r"[\s_-]+", " ", text.strip().lower()))


def concept_of_phrase(phrase: str) -> Concept | None:
    """As :func:`find_concept`, for a phrase in lower case with single spaces."""
    phrases = _concept_by_phrase()
    for stem in (phrase, phrase.removesuffix("s"), phrase.removesuffix("es")):
        if stem in phrases:
            return phrases[stem]
    return None


@cache
def mention_pattern() -> re.Pattern[str]:
    """Finds every phrase of :data:`CONCEPTS` and :data:`NOT_CONCEPTS` in lower-case text, the longest first."""
    phrases = sorted((*_concept_by_phrase(), *NOT_CONCEPTS), key=lambda phrase: (-len(phrase), phrase))
    body = "|".join(re.escape(phrase).replace(r"\ ", r"[\s-]+") for phrase in phrases)
    return re.compile(rf"\b(?:{body})(?:s|es)?\b")


@cache
def _concept_by_phrase() -> dict[str, Concept]:
    phrases: dict[str, Concept] = {}
    for entry in _ALL:
        for phrase in (entry.key.replace("_", " "), entry.name, *entry.synonyms):
            if phrases.setdefault(phrase, entry) is not entry:
                raise AssertionError(f"{phrase!r} names both {phrases[phrase].key} and {entry.key}")
    return phrases
