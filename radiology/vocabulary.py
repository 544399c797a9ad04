"""The findings that this project can name: canonical keys, display names, and how reports write them.

A key (``pleural_effusion``) is what labels, tables and comparisons use. Covered are the findings of the phantom chest,
the fourteen observations of CheXpert (arXiv 1901.07031), and what else chest reports often hold. The phrases are in
:mod:`radiology.vocabulary_terms`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from radiology.errors import InputError
from radiology.vocabulary_entry import Kind
from radiology.vocabulary_phantom import PHANTOM_ENTRIES
from radiology.vocabulary_terms import ENTRIES, OTHER_MEANINGS


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


#: Every concept by its key.
CONCEPTS: dict[str, Concept] = {
    entry.key: Concept(
        entry.key,
        entry.name,
        tuple(phrase for phrase in re.split(r",\s*", entry.synonyms) if phrase),
        entry.kind,
        entry.sided,
        entry.broader,
    )
    for entry in ENTRIES
}

#: The findings of the phantom chest.
PHANTOM_CONCEPTS: tuple[str, ...] = tuple(entry.key for entry in PHANTOM_ENTRIES)

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
NOT_CONCEPTS: frozenset[str] = frozenset(OTHER_MEANINGS)


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
def phrase_body() -> str:
    """Regular expression for every phrase of :data:`CONCEPTS` and :data:`NOT_CONCEPTS` in lower-case text.

    Phrases that begin alike share their beginning (a trie), so that one word of text is compared once and not with a
    thousand phrases. The longest phrase is taken. ``no finding`` is left out: "no findings of edema" is another thing.
    """
    names = {entry.name for entry in CONCEPTS.values() if entry.kind != "overall"}
    phrases = {phrase for phrase, entry in _concept_by_phrase().items() if entry.kind != "overall"} | names
    return rf"{trie_body(phrases | NOT_CONCEPTS)}(?:s|es)?"


@cache
def mention_pattern() -> re.Pattern[str]:
    """:func:`phrase_body` as a pattern of its own, at the bounds of words."""
    return re.compile(rf"\b{phrase_body()}\b")


def trie_body(phrases: Iterable[str]) -> str:
    """Regular expression for the longest of some phrases, letter by letter; a space stands for a hyphen too."""
    trie: dict[str, dict] = {}
    for phrase in phrases:
        node = trie
        for letter in phrase.replace("-", " "):
            node = node.setdefault(letter, {})
        node[""] = {}
    return _branches(trie)


def _branches(node: dict[str, dict]) -> str:
    """The alternatives below a node of the trie; a phrase that ends here makes what follows optional."""
    ways = []
    for letter, below in sorted(node.items()):
        if letter:
            ways.append(("[\\s-]+" if letter == " " else re.escape(letter)) + _branches(below))
    if not ways:
        return ""
    if len(ways) == 1 and "" not in node:
        return ways[0]
    return f"(?:{'|'.join(ways)}){'?' if '' in node else ''}"


@cache
def _concept_by_phrase() -> dict[str, Concept]:
    phrases: dict[str, Concept] = {}
    for entry in CONCEPTS.values():
        for phrase in (entry.key.replace("_", " "), entry.name, *entry.synonyms):
            if phrases.setdefault(phrase, entry) is not entry:
                raise AssertionError(f"{phrase!r} names both {phrases[phrase].key} and {entry.key}")
    return phrases
