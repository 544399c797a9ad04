"""The sections around a phantom report: why the picture was taken, how, and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from radiology.phantom.factors import Factors, Nuisance

_SYMPTOMS: tuple[str, ...] = ("shortness of breath", "chest pain", "cough", "fever", "cough and fever", "weakness")
_QUESTIONS: tuple[str, ...] = ("pneumothorax", "pleural effusion", "pulmonary edema", "consolidation")
_PLAIN: tuple[str, ...] = ("Line placement.", "Tube placement.", "After surgery.", "Before surgery.", "Follow up.")
_TECHNIQUE: dict[bool, tuple[str, ...]] = {
    False: ("Frontal chest radiograph.", "Single frontal view of the chest.", "Frontal view of the chest."),
    True: ("Frontal and lateral chest radiographs.", "Frontal and lateral views of the chest."),
}
_COMPARISON: tuple[str, ...] = ("Prior chest radiograph.", "Prior study.", "Prior frontal view of the chest.")

_NO_INDICATION_RATE = 0.15
_HINT_RATE = 0.3


def write_sections(
    rng: np.random.Generator,
    factors: Factors,
    prior_factors: Factors | None,
    nuisance: Nuisance,
    lateral: bool = False,
) -> dict[str, str | None]:
    """Indication, technique and comparison; ``None`` where a section is missing.

    The indication is a weak hint: in most studies it is drawn without looking at the chest, so it never settles what
    is in the picture. The technique names no projection, because intubated patients are always taken in bed and the
    word would tell. The comparison is there exactly when a prior study is.
    """
    return {
        "indication": _indication(rng, factors, nuisance),
        "technique": _one_of(rng, _TECHNIQUE[lateral]),
        "comparison": None if prior_factors is None else _one_of(rng, _COMPARISON),
    }


def section_sentences() -> Iterator[str]:
    """Every text that a section can hold."""
    for symptom in _SYMPTOMS:
        yield from (_complaint(symptom, who) for who in ("", "female", "male"))
    yield from (_question(name) for name in _QUESTIONS)
    yield from (*_PLAIN, *_TECHNIQUE[False], *_TECHNIQUE[True], *_COMPARISON)


def _indication(rng: np.random.Generator, factors: Factors, nuisance: Nuisance) -> str | None:
    if rng.random() < _NO_INDICATION_RATE:
        return None
    hints = _hints(factors)
    if hints and rng.random() < _HINT_RATE:
        return _one_of(rng, hints)
    kind = rng.random()
    if kind < 0.5:
        return _complaint(_one_of(rng, _SYMPTOMS), _one_of(rng, ("", nuisance.sex)))
    if kind < 0.75:
        return _question(_one_of(rng, _QUESTIONS))
    return _one_of(rng, _PLAIN)


def _hints(factors: Factors) -> tuple[str, ...]:
    """Indications that fit this chest; each is also given to chests that they do not fit."""
    fits = (
        (factors.endotracheal_tube or bool(factors.nasogastric_tube), "Tube placement."),
        (factors.central_line, "Line placement."),
        (factors.sternotomy_wires, "After surgery."),
        (bool(factors.edema or factors.cardiomegaly), _complaint("shortness of breath", "")),
        (bool(factors.consolidation_left or factors.consolidation_right), _complaint("cough and fever", "")),
        (bool(factors.pneumothorax_left or factors.pneumothorax_right), _question("pneumothorax")),
        (bool(factors.effusion_left or factors.effusion_right), _question("pleural effusion")),
    )
    return tuple(text for fit, text in fits if fit)


def _complaint(symptom: str, sex: str) -> str:
    person = {"female": "Woman with ", "male": "Man with "}.get(sex, "")
    return f"{person}{symptom}." if person else f"{symptom.capitalize()}."


def _question(name: str) -> str:
    return f"Evaluate for {name}."


def _one_of(rng: np.random.Generator, texts: tuple[str, ...]) -> str:
    return texts[int(rng.integers(len(texts)))]
