"""The vocabulary of findings."""

from __future__ import annotations

import pytest

from radiology.errors import InputError
from radiology.phantom.factors import FINDING_KEYS
from radiology.vocabulary import CHEXPERT_CONCEPTS, CONCEPTS, PHANTOM_CONCEPTS, concept, find_concept, mention_pattern


def test_every_name_and_synonym_leads_to_its_concept() -> None:
    for entry in CONCEPTS.values():
        for phrase in (entry.key, entry.name, *entry.synonyms):
            assert find_concept(phrase.upper()) is entry


def test_every_phrase_is_found_whole_in_text() -> None:
    for entry in CONCEPTS.values():
        if entry.kind != "overall":  # "no finding" is a pattern: "no findings of edema" says another thing
            for phrase in (entry.name, *entry.synonyms):
                assert mention_pattern().findall(f"there is {phrase}, seen.") == [phrase]


def test_phantom_and_chexpert_findings_are_covered() -> None:
    assert {key.split(":")[0] for key in FINDING_KEYS} == set(PHANTOM_CONCEPTS)
    assert len(CHEXPERT_CONCEPTS) == 14
    assert set(CHEXPERT_CONCEPTS) <= set(CONCEPTS)
    assert all(entry.broader is None or entry.broader in CONCEPTS for entry in CONCEPTS.values())
    sided = {key.split(":")[0] for key in FINDING_KEYS if key.endswith((":left", ":right"))}
    assert all(CONCEPTS[key].sided for key in sided)


def test_unknown_concepts_are_named_in_the_error() -> None:
    assert find_concept("full moon") is None
    with pytest.raises(InputError, match=r"full_moon.*pleural_effusion"):
        concept("full_moon")
    assert concept("hernia").name == "hernia"
