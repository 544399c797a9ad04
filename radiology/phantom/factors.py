"""What is true about a phantom patient: the factors that a picture and a report are made from.

A :class:`Factors` says what is in the chest, a :class:`Nuisance` how the picture was taken. Both are plain
frozen records; sampling takes an explicit ``numpy.random.Generator`` and is deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from radiology.errors import InputError

Side = Literal["left", "right"]
Size = Literal["small", "large"]
Zone = Literal["upper", "mid", "lower"]
Change = Literal["new", "worse", "improved", "unchanged", "resolved"]

SIDES: tuple[Side, ...] = ("left", "right")
SIZES: tuple[Size, ...] = ("small", "large")
ZONES: tuple[Zone, ...] = ("upper", "mid", "lower")

#: Every finding that the phantom knows, ``concept`` or ``concept:side``; the order is the order of label vectors.
FINDING_KEYS: tuple[str, ...] = (
    "pleural_effusion:left",
    "pleural_effusion:right",
    "cardiomegaly",
    "pneumothorax:left",
    "pneumothorax:right",
    "consolidation:left",
    "consolidation:right",
    "pulmonary_edema",
    "lung_nodule:left",
    "lung_nodule:right",
    "pacemaker",
    "endotracheal_tube",
    "nasogastric_tube",
    "nasogastric_tube:misplaced",
    "central_line",
    "sternotomy_wires",
)


@dataclass(frozen=True)
class Factors:
    """What is in the chest. ``None`` / ``False`` is absent.

    ``subtle`` names the fields whose finding is drawn faintly; a report hedges exactly these.
    Left and right are the patient's.
    """

    effusion_left: Size | None = None
    effusion_right: Size | None = None
    cardiomegaly: Literal["mild", "marked"] | None = None
    pneumothorax_left: Size | None = None
    pneumothorax_right: Size | None = None
    consolidation_left: Zone | None = None
    consolidation_right: Zone | None = None
    edema: Literal["mild", "severe"] | None = None
    nodule_left: Zone | None = None
    nodule_right: Zone | None = None
    pacemaker: bool = False
    endotracheal_tube: bool = False
    nasogastric_tube: Literal["placed", "misplaced"] | None = None
    central_line: bool = False
    sternotomy_wires: bool = False
    subtle: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"phantom factor {name!r}: {value!r} is not one of {list(allowed)}")
        unknown = self.subtle - CAN_BE_SUBTLE
        if unknown:
            raise InputError(
                f"phantom factor 'subtle': {sorted(unknown)} cannot be subtle; {sorted(CAN_BE_SUBTLE)} can"
            )

    def labels(self) -> dict[str, str]:
        """Truth per :data:`FINDING_KEYS`, and per concept without its side: ``present`` or ``absent``."""
        present = {key: bool(getattr(self, field)) for key, field in FIELD_OF_KEY.items()}
        present["nasogastric_tube:misplaced"] = self.nasogastric_tube == "misplaced"
        for key in FINDING_KEYS:
            concept = key.split(":")[0]
            present[concept] = present.get(concept, False) or present[key]
        return {key: "present" if value else "absent" for key, value in present.items()}


#: The field of :class:`Factors` behind each finding key.
FIELD_OF_KEY: dict[str, str] = {
    "pleural_effusion:left": "effusion_left",
    "pleural_effusion:right": "effusion_right",
    "cardiomegaly": "cardiomegaly",
    "pneumothorax:left": "pneumothorax_left",
    "pneumothorax:right": "pneumothorax_right",
    "consolidation:left": "consolidation_left",
    "consolidation:right": "consolidation_right",
    "pulmonary_edema": "edema",
    "lung_nodule:left": "nodule_left",
    "lung_nodule:right": "nodule_right",
    "pacemaker": "pacemaker",
    "endotracheal_tube": "endotracheal_tube",
    "nasogastric_tube": "nasogastric_tube",
    "central_line": "central_line",
    "sternotomy_wires": "sternotomy_wires",
}

#: Fields with two sizes, smaller first: these can become worse or improve.
GRADED: dict[str, tuple[str, str]] = {
    "effusion_left": ("small", "large"),
    "effusion_right": ("small", "large"),
    "cardiomegaly": ("mild", "marked"),
    "pneumothorax_left": ("small", "large"),
    "pneumothorax_right": ("small", "large"),
    "edema": ("mild", "severe"),
}

#: Fields that a chest does not lose between two visits.
PERMANENT: frozenset[str] = frozenset({"pacemaker", "sternotomy_wires"})

CAN_BE_SUBTLE: frozenset[str] = frozenset(
    {
        "effusion_left",
        "effusion_right",
        "pneumothorax_left",
        "pneumothorax_right",
        "consolidation_left",
        "consolidation_right",
        "nodule_left",
        "nodule_right",
    }
)

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "effusion_left": (None, *SIZES),
    "effusion_right": (None, *SIZES),
    "cardiomegaly": (None, "mild", "marked"),
    "pneumothorax_left": (None, *SIZES),
    "pneumothorax_right": (None, *SIZES),
    "consolidation_left": (None, *ZONES),
    "consolidation_right": (None, *ZONES),
    "edema": (None, "mild", "severe"),
    "nodule_left": (None, *ZONES),
    "nodule_right": (None, *ZONES),
    "pacemaker": (False, True),
    "endotracheal_tube": (False, True),
    "nasogastric_tube": (None, "placed", "misplaced"),
    "central_line": (False, True),
    "sternotomy_wires": (False, True),
}

_PREVALENCE: dict[str, float] = {
    "effusion_left": 0.17,
    "effusion_right": 0.17,
    "cardiomegaly": 0.30,
    "pneumothorax_left": 0.10,
    "pneumothorax_right": 0.10,
    "consolidation_left": 0.15,
    "consolidation_right": 0.15,
    "edema": 0.20,
    "nodule_left": 0.11,
    "nodule_right": 0.11,
    "pacemaker": 0.16,
    "endotracheal_tube": 0.18,
    "nasogastric_tube": 0.26,
    "central_line": 0.18,
    "sternotomy_wires": 0.16,
}
_SUBTLE_RATE = 0.15


@dataclass(frozen=True)
class Nuisance:
    """How the picture was taken; nothing here is a finding."""

    view: Literal["PA", "AP"] = "PA"
    sex: Literal["female", "male"] = "female"
    age: int = 60
    habitus: float = 0.0  # thin −1 … heavy +1
    rotation: float = 0.0  # degrees in the image plane
    exposure: float = 0.0  # under −1 … over +1
    noise: float = 0.5  # 0 … 1
    marker: bool = True  # side marker letter on the film
    source: Literal["A", "B", "C"] = "A"  # scanner: tone curve, sharpness, border
    anatomy_seed: int = 0  # ribs, vessels, contours: the person behind the picture


def factor_names() -> tuple[str, ...]:
    """Names of the fields of :class:`Factors` that hold a finding, in label order."""
    return tuple(field.name for field in fields(Factors) if field.name != "subtle")


def sample_factors(rng: np.random.Generator, correlate: Mapping[tuple[str, str], float] | None = None) -> Factors:
    """Draw one chest.

    ``correlate`` maps (cause, effect) field names to the probability of the effect where the cause is present,
    e.g. ``{("pneumothorax_left", "central_line"): 0.9}`` plants a shortcut between disease and device. Effects must be
    yes/no fields.
    """
    values: dict[str, Any] = {name: _draw(rng, name) for name in factor_names()}
    if values["pneumothorax_left"] and values["pneumothorax_right"]:
        values[str(rng.choice(["pneumothorax_left", "pneumothorax_right"]))] = None
    for (cause, effect), probability in (correlate or {}).items():
        _check_correlation(cause, effect, probability)
        if values[cause]:
            values[effect] = bool(rng.random() < probability)
    return _with_subtle(rng, values)


def sample_prior(rng: np.random.Generator, now: Factors) -> Factors:
    """The same patient at an earlier visit: about half of the findings unchanged, the others other."""
    values: dict[str, Any] = {}
    for name in factor_names():
        present = getattr(now, name)
        if name in PERMANENT:
            values[name] = bool(present) and bool(rng.random() < 0.75)
        elif not present:
            values[name] = _draw(rng, name) if rng.random() < 0.6 else (False if present is False else None)
        elif rng.random() < 0.3:
            values[name] = False if present is True else None
        elif name in GRADED and rng.random() < 0.45:
            values[name] = next(size for size in GRADED[name] if size != present)
        else:
            values[name] = present
    if values["pneumothorax_left"] and values["pneumothorax_right"]:
        keep = "pneumothorax_left" if now.pneumothorax_left else "pneumothorax_right"
        values["pneumothorax_right" if keep == "pneumothorax_left" else "pneumothorax_left"] = None
    return _with_subtle(rng, values)


def change_of(prior: Factors, now: Factors, name: str) -> Change | None:
    """How field ``name`` changed; ``None`` where it was and is absent. A moved lesion counts as unchanged."""
    before, after = getattr(prior, name), getattr(now, name)
    if not before and not after:
        return None
    if not before:
        return "new"
    if not after:
        return "resolved"
    if name in GRADED and before != after:
        return "worse" if after == GRADED[name][1] else "improved"
    return "unchanged"


def sample_nuisance(rng: np.random.Generator, factors: Factors) -> Nuisance:
    """Draw how the picture is taken. Intubated patients lie in bed (AP); otherwise views mix."""
    view: Literal["PA", "AP"] = "AP" if factors.endotracheal_tube or rng.random() < 0.35 else "PA"
    return Nuisance(
        view=view,
        sex="female" if rng.random() < 0.5 else "male",
        age=int(np.clip(rng.normal(62, 15), 19, 95)),
        habitus=float(np.clip(rng.normal(0, 0.5), -1, 1)),
        rotation=float(np.clip(rng.normal(0, 1.6), -4, 4)),
        exposure=float(np.clip(rng.normal(0, 0.4), -1, 1)),
        noise=float(rng.uniform(0.2, 0.9)),
        marker=bool(rng.random() < 0.8),
        source=("A", "B", "C")[int(rng.integers(3))],
        anatomy_seed=int(rng.integers(2**31)),
    )


def counterfactual(factors: Factors, name: str) -> Factors:
    """The same chest with one factor switched: a present finding removed, an absent one added (clearly drawn)."""
    if name not in factor_names():
        raise InputError(f"phantom factor {name!r} does not exist; choose one of {list(factor_names())}")
    present = getattr(factors, name)
    absent_value, present_value = _ALLOWED[name][0], _ALLOWED[name][-1]
    if name == "nasogastric_tube":
        present_value = "placed"
    return replace(factors, **{name: absent_value if present else present_value}, subtle=factors.subtle - {name})


def _draw(rng: np.random.Generator, name: str) -> Any:
    absent, *present = _ALLOWED[name]
    if rng.random() >= _PREVALENCE[name]:
        return absent
    return present[int(rng.integers(len(present)))]


def _with_subtle(rng: np.random.Generator, values: Mapping[str, Any]) -> Factors:
    subtle = frozenset(name for name in sorted(CAN_BE_SUBTLE) if values[name] and rng.random() < _SUBTLE_RATE)
    return Factors(**values, subtle=subtle)


def _check_correlation(cause: str, effect: str, probability: float) -> None:
    if cause not in factor_names() or effect not in factor_names():
        raise InputError(f"correlated factors {cause!r} → {effect!r}: both must be of {list(factor_names())}")
    if _ALLOWED[effect] != (False, True):
        yes_no = [name for name, allowed in _ALLOWED.items() if allowed == (False, True)]
        raise InputError(f"correlated factor {effect!r} has sizes; the effect must be one of {yes_no}")
    if not 0 <= probability <= 1:
        raise InputError(f"correlated factors {cause!r} → {effect!r}: probability {probability} is not in [0, 1]")
