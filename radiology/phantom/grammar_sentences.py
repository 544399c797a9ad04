"""The wordings of the phantom's report language.

A sentence is made from one fact (finding, size or place, certainty, change) in one of a few wordings, or negates a list
of findings.
"""

from __future__ import annotations

from dataclasses import dataclass

from radiology.phantom.factors import SIZES, ZONES

#: Fields of each topic, in the order in which a report speaks of them.
DEVICES: tuple[str, ...] = (
    "endotracheal_tube",
    "nasogastric_tube",
    "central_line",
    "pacemaker",
    "sternotomy_wires",
)
LUNGS: tuple[str, ...] = ("edema", "consolidation_left", "consolidation_right", "nodule_left", "nodule_right")
PLEURA: tuple[str, ...] = ("effusion_left", "effusion_right", "pneumothorax_left", "pneumothorax_right")


@dataclass(frozen=True)
class _Noun:
    """How a finding is named: ``name`` after its adjectives, with an article or (mass noun) without."""

    name: str
    countable: bool


_NOUNS: dict[str, _Noun] = {
    "effusion": _Noun("pleural effusion", True),
    "pneumothorax": _Noun("pneumothorax", True),
    "consolidation": _Noun("consolidation", False),
    "edema": _Noun("pulmonary edema", False),
    "nodule": _Noun("nodule", True),
    "cardiomegaly": _Noun("cardiomegaly", False),
}

_DEVICE_NAMES: dict[str, tuple[str, ...]] = {
    "endotracheal_tube": ("endotracheal tube",),
    "nasogastric_tube": ("nasogastric tube",),
    "central_line": ("central line", "central venous catheter"),
    "pacemaker": ("pacemaker",),
    "sternotomy_wires": ("sternotomy wires",),
}

#: What can be negated in one list: concept → wordings inside the list.
_NEGATED_LUNGS: dict[str, tuple[str, ...]] = {
    "consolidation": ("focal consolidation", "consolidation"),
    "pulmonary_edema": ("pulmonary edema",),
    "lung_nodule": ("nodule", "lung nodule"),
}
_NEGATED_PLEURA: dict[str, tuple[str, ...]] = {
    "pleural_effusion": ("pleural effusion", "effusion"),
    "pneumothorax": ("pneumothorax",),
}
NEGATED_LISTS: tuple[dict[str, tuple[str, ...]], ...] = (_NEGATED_LUNGS, _NEGATED_PLEURA)

_HAS_CHANGED: dict[str, tuple[str, ...]] = {
    "worse": ("has increased", "has worsened"),
    "improved": ("has decreased", "has improved"),
    "unchanged": ("is unchanged", "is stable"),
}
_SINCE_PRIOR: dict[str, str] = {
    "new": "new since the prior study",
    "worse": "increased since the prior study",
    "improved": "decreased since the prior study",
    "unchanged": "unchanged since the prior study",
}


def finding_sentences(field: str, value: str, subtle: bool, change: str | None) -> tuple[str, ...]:
    """All wordings of "the finding ``field`` is there as ``value``"; ``change`` is ``None`` without a prior study."""
    kind = _kind(field)
    noun = _NOUNS[kind]
    names = _noun_phrases(field, value)
    if subtle:
        return tuple(_sentence(text) for name in names for text in _hedged(name, noun, change))
    texts = [text for name in names for text in _affirmed(name, noun, change)]
    if kind == "cardiomegaly":
        texts += _enlarged_heart(value, change)
    return tuple(_sentence(text) for text in texts)


def resolved_sentences(field: str) -> tuple[str, ...]:
    """All wordings of "the finding or device ``field`` of the prior study is gone"."""
    if field in _DEVICE_NAMES:
        pairs = [(name, *_verbs(name)) for name in _DEVICE_NAMES[field]]
        return tuple(
            _sentence(text)
            for name, be, have in pairs
            for text in (f"the {name} {have} been removed", f"the {name} {be} no longer seen")
        )
    if field == "cardiomegaly":
        return ("Cardiomegaly has resolved.", "The heart is no longer enlarged.")
    organ = "lung " if field in LUNGS and _side(field) else ""
    name = f"{_side(field)} {organ}{_NOUNS[_kind(field)].name}".lstrip()
    return (_sentence(f"the {name} has resolved"), _sentence(f"the {name} is no longer seen"))


def device_sentences(field: str, value: bool | str, change: str | None) -> tuple[str, ...]:
    """All wordings of "the device ``field`` is there"; a nasogastric tube says where it ends."""
    if field == "nasogastric_tube":
        texts = _nasogastric(str(value), change)
    else:
        texts = [text for name in _DEVICE_NAMES[field] for text in _device(name, change)]
        if field == "endotracheal_tube" and change is None:
            texts.append("the endotracheal tube ends above the carina")
    return tuple(_sentence(text) for text in texts)


def normal_heart_sentences() -> tuple[str, ...]:
    """All wordings of "the heart is not enlarged"."""
    return ("The heart is normal in size.", "Heart size is normal.", "The heart is not enlarged.")


def clear_lungs_sentences() -> tuple[str, ...]:
    """All wordings of "no edema, no consolidation, no nodule" that name none of them."""
    return ("The lungs are clear.", "Both lungs are clear.")


def negated_sentences(concepts: tuple[str, ...]) -> tuple[str, ...]:
    """All wordings of "none of these", for concepts of one topic in the order of :data:`NEGATED_LISTS`."""
    wordings = next(names for names in NEGATED_LISTS if concepts[0] in names)
    lists = [""]
    for place, concept in enumerate(concepts):
        joint = "" if place == 0 else (" or " if place == len(concepts) - 1 else ", ")
        lists = [f"{text}{joint}{name}" for text in lists for name in wordings[concept]]
    openings = ("no", "there is no", "no evidence of")
    return tuple(_sentence(f"{opening} {text}") for text in lists for opening in openings)


def _kind(field: str) -> str:
    return field.split("_")[0]


def _side(field: str) -> str:
    return field.split("_")[1] if "_" in field else ""


def _noun_phrases(field: str, value: str) -> tuple[str, ...]:
    """Noun phrases without article, e.g. ``small left pleural effusion`` or ``nodule in the left upper lung``."""
    noun, side = _NOUNS[_kind(field)].name, _side(field)
    if value in ZONES:
        return (f"{side} {value} lung {noun}", f"{noun} in the {side} {value} lung")
    words = (value, side, noun) if value in SIZES else (value, noun)
    return (" ".join(words),)


def _affirmed(name: str, noun: _Noun, change: str | None) -> list[str]:
    one = _with_article(name) if noun.countable else name
    if change is None:
        return [f"there is {one}", f"{one} is seen", f"{one} is present"]
    if change == "new":
        new = _with_article(f"new {name}") if noun.countable else f"new {name}"
        return [f"there is {new}", f"{new} is seen", f"the {name} is new"]
    texts = [f"the {name} {verb}" for verb in _HAS_CHANGED[change]]
    return [*texts, f"there is {one}, {_SINCE_PRIOR[change]}"]


def _hedged(name: str, noun: _Noun, change: str | None) -> list[str]:
    one = _with_article(name) if noun.countable else name
    possible, subtle = (f"a {word} {name}" if noun.countable else f"{word} {name}" for word in ("possible", "subtle"))
    tail = "" if change is None else f", {_SINCE_PRIOR[change]}"
    return [
        f"there is {possible}{tail}",
        f"there may be {one}{tail}",
        f"{subtle} cannot be excluded{tail}",
        f"findings may represent {one}{tail}",
    ]


def _enlarged_heart(value: str, change: str | None) -> list[str]:
    degree = {"mild": "mildly", "marked": "markedly"}[value]
    if change is None:
        return [f"the heart is {degree} enlarged"]
    if change == "unchanged":
        return [f"the heart remains {degree} enlarged"]
    return [f"the heart is {degree} enlarged, {_SINCE_PRIOR[change]}"]


def _device(name: str, change: str | None) -> list[str]:
    be, _ = _verbs(name)
    plural = be == "are"
    one, new = (name, f"new {name}") if plural else (_with_article(name), _with_article(f"new {name}"))
    if change is None:
        return [f"{one} {be} in place", f"{one} {be} seen", f"there {be} {one}"]
    if change == "new":
        return [f"{new} {be} in place", f"there {be} {new}"]
    return [f"the {name} {be} again seen", f"the {name} {be} unchanged"]


def _nasogastric(place: str, change: str | None) -> list[str]:
    tube = "nasogastric tube"
    if place == "misplaced":
        return {
            None: [
                f"the {tube} is misplaced",
                f"there is a misplaced {tube}",
                f"the {tube} is misplaced above the diaphragm",
            ],
            "new": [f"a new {tube} is misplaced", f"there is a new misplaced {tube}"],
            "unchanged": [f"the {tube} is again seen and is misplaced", f"the {tube} remains and is misplaced"],
        }[change]
    return {
        None: [f"the {tube} ends in the stomach", f"a {tube} is seen with its tip in the stomach"],
        "new": [f"a new {tube} ends in the stomach", f"there is a new {tube} with its tip in the stomach"],
        "unchanged": [
            f"the {tube} is again seen and ends in the stomach",
            f"the {tube} remains and ends in the stomach",
        ],
    }[change]


def _verbs(name: str) -> tuple[str, str]:
    return ("are", "have") if name.endswith("wires") else ("is", "has")


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
