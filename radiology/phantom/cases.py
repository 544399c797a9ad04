"""Phantom studies: numbered cases, drawn and written up on demand.

A :class:`PhantomCase` is the cheap part: what is in the chest and how it is taken. Its pictures and its text are made
from separate random streams, so that a case can be drawn without being written up, and so that switching one factor
changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np

from radiology.errors import InputError
from radiology.phantom.factors import (
    Factors,
    Nuisance,
    counterfactual,
    sample_factors,
    sample_nuisance,
    sample_prior,
)
from radiology.phantom.grammar import ReportSentence, write_report, write_sections
from radiology.phantom.render import DEFAULT_SIZE, Rendered, render_frontal, render_lateral
from radiology.study import Box, GroundedSentence, Study

LATERAL_RATE = 0.35
PRIOR_RATE = 0.35
Correlation = Mapping[tuple[str, str], float]

#: Patient of each of five consecutive studies: one in four patients comes twice, 1.25 studies a patient.
_PATIENT_OF_FIVE = (0, 0, 1, 2, 3)
_FACTORS, _PICTURE, _TEXT, _PERSON = 1, 2, 3, 4


@dataclass(frozen=True)
class PhantomCase:
    """Everything that decides a phantom study, without pixels and words."""

    seed: int
    index: int
    patient: int
    factors: Factors
    nuisance: Nuisance
    has_lateral: bool
    prior_factors: Factors | None = None
    prior_nuisance: Nuisance | None = None
    variant: str = ""

    @property
    def study_id(self) -> str:
        return f"phantom-S{self.seed}-{self.index:06d}{self.variant}"

    @property
    def patient_id(self) -> str:
        return f"phantom-P{self.seed}-{self.patient:06d}"

    @property
    def split(self) -> str:
        """``train``, ``val`` or ``test`` (80 : 10 : 10), the same for all studies of a patient."""
        bucket = int.from_bytes(sha256(self.patient_id.encode()).digest()[:4], "big") % 10
        return "train" if bucket < 8 else ("val" if bucket == 8 else "test")


@dataclass(frozen=True)
class CasePictures:
    """The rendered views of a case; ``None`` where the case has no such view."""

    frontal: Rendered
    lateral: Rendered | None
    prior_frontal: Rendered | None

    def images(self) -> dict[str, np.ndarray]:
        views = {"frontal": self.frontal, "lateral": self.lateral, "prior_frontal": self.prior_frontal}
        return {name: view.image for name, view in views.items() if view is not None}


@dataclass(frozen=True, eq=False, kw_only=True)
class PhantomStudy(Study):
    """A :class:`~radiology.study.Study` with known truth.

    ``masks`` (of the frontal), ``lateral_masks`` and ``prior_masks`` (of the prior frontal) map each finding key that
    is present there to (size, size) bool.
    """

    case: PhantomCase
    masks: Mapping[str, np.ndarray]
    lateral_masks: Mapping[str, np.ndarray]
    prior_masks: Mapping[str, np.ndarray] = field(default_factory=dict)

    def masks_of(self, name: str) -> Mapping[str, np.ndarray]:
        of_image = {"frontal": self.masks, "lateral": self.lateral_masks, "prior_frontal": self.prior_masks}
        return of_image.get(name, {})

    @property
    def factors(self) -> Factors:
        return self.case.factors

    @property
    def prior_factors(self) -> Factors | None:
        return self.case.prior_factors

    @property
    def nuisance(self) -> Nuisance:
        return self.case.nuisance


def phantom_case(seed: int, index: int, *, correlate: Correlation | None = None) -> PhantomCase:
    """Case ``index`` of the series ``seed``; ``correlate`` as in :func:`~radiology.phantom.factors.sample_factors`."""
    if seed < 0 or index < 0:
        raise InputError(f"phantom case: seed {seed} and index {index} must not be negative")
    patient = 4 * (index // 5) + _PATIENT_OF_FIVE[index % 5]
    rng = np.random.default_rng([seed, index, _FACTORS])
    factors = sample_factors(rng, correlate)
    picture = np.random.default_rng([seed, index, _PICTURE])
    has_lateral, has_prior = picture.random(2) < (LATERAL_RATE, PRIOR_RATE)
    nuisance = _of_patient(seed, patient, sample_nuisance(picture, factors))
    case = PhantomCase(seed, index, patient, factors, nuisance, bool(has_lateral))
    if not has_prior:
        return case
    prior = sample_prior(rng, factors)
    before = sample_nuisance(picture, prior)
    return replace(case, prior_factors=prior, prior_nuisance=_of_patient(seed, patient, before))


def _of_patient(seed: int, patient: int, nuisance: Nuisance) -> Nuisance:
    """The picture-taking of ``nuisance`` with the body of a patient."""
    person = sample_nuisance(np.random.default_rng([seed, patient, _PERSON]), Factors())
    return replace(nuisance, sex=person.sex, age=person.age, habitus=person.habitus, anatomy_seed=person.anatomy_seed)


def draw_case(case: PhantomCase, size: int = DEFAULT_SIZE) -> CasePictures:
    """Render every view of a case."""
    lateral = render_lateral(case.factors, case.nuisance, size) if case.has_lateral else None
    prior = None
    if case.prior_factors is not None and case.prior_nuisance is not None:
        prior = render_frontal(case.prior_factors, case.prior_nuisance, size)
    return CasePictures(render_frontal(case.factors, case.nuisance, size), lateral, prior)


def write_case(case: PhantomCase) -> tuple[list[ReportSentence], str | None, dict[str, str | None]]:
    """Report sentences, prior report, and the sections around them."""
    now, before, around = (np.random.default_rng([case.seed, case.index, _TEXT, part]) for part in range(3))
    report = write_report(now, case.factors, case.prior_factors)
    prior = None
    if case.prior_factors is not None:
        prior = " ".join(sentence.text for sentence in write_report(before, case.prior_factors))
    sections = write_sections(around, case.factors, case.prior_factors, case.nuisance, lateral=case.has_lateral)
    return report, prior, sections


def study_of(case: PhantomCase, size: int = DEFAULT_SIZE) -> PhantomStudy:
    """Draw and write up a case."""
    pictures = draw_case(case, size)
    sentences, prior_report, sections = write_case(case)
    nuisance = case.nuisance
    return PhantomStudy(
        study_id=case.study_id,
        patient_id=case.patient_id,
        images=pictures.images(),
        terms="phantom",
        prior_report=prior_report,
        report=" ".join(sentence.text for sentence in sentences),
        grounded=tuple(_ground(sentence, pictures.frontal.masks) for sentence in sentences),
        labels=case.factors.labels(),
        metadata={
            "sex": nuisance.sex,
            "age": nuisance.age,
            "view": nuisance.view,
            "source": nuisance.source,
            "split": case.split,
        },
        case=case,
        masks=pictures.frontal.masks,
        lateral_masks=pictures.lateral.masks if pictures.lateral is not None else {},
        prior_masks=pictures.prior_frontal.masks if pictures.prior_frontal is not None else {},
        structured=None,
        **sections,
    )


def phantom_study(
    seed: int, index: int, *, correlate: Correlation | None = None, size: int = DEFAULT_SIZE
) -> PhantomStudy:
    """Study ``index`` of the series ``seed``: the same arguments give the same study, bit for bit."""
    return study_of(phantom_case(seed, index, correlate=correlate), size)


def phantom_studies(
    n: int, seed: int = 0, start: int = 0, correlate: Correlation | None = None, size: int = DEFAULT_SIZE
) -> Iterator[PhantomStudy]:
    """Studies ``start`` … ``start + n − 1`` of a series, one at a time."""
    for index in range(start, start + n):
        yield phantom_study(seed, index, correlate=correlate, size=size)


def counterfactual_pair(study: PhantomStudy, name: str) -> tuple[PhantomStudy, PhantomStudy]:
    """The study and its twin with factor ``name`` switched (present ↔ absent): same patient, film and noise.

    The frontal pictures differ only where the finding is drawn; the report of the twin follows its factors.
    """
    case = study.case
    added = not getattr(case.factors, name, None)
    factors = counterfactual(case.factors, name)
    variant = f"{case.variant}-{'with' if added else 'without'}-{name}"
    twin = replace(case, factors=factors, variant=variant)
    return study, study_of(twin, study.pixels("frontal").shape[0])


def box_of(mask: np.ndarray) -> Box:
    """Tight x0, y0, x1, y1 in [0, 1] around the true pixels of ``mask`` (height, width)."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(ys):
        raise InputError("box of an empty mask: the finding is nowhere on the picture")
    height, width = mask.shape
    return float(xs[0] / width), float(ys[0] / height), float((xs[-1] + 1) / width), float((ys[-1] + 1) / height)


def _ground(sentence: ReportSentence, masks: Mapping[str, np.ndarray]) -> GroundedSentence:
    affirmed = [key for key, status in sentence.keys if status != "absent" and key in masks and masks[key].any()]
    boxes = tuple(dict.fromkeys(box_of(masks[key]) for key in affirmed))
    first = next(iter(sentence.keys), None)
    return GroundedSentence(sentence.text, boxes, first[0].split(":")[0] if first else None)
