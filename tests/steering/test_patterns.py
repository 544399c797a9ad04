from __future__ import annotations

import re

import pytest

from steering.errors import SteeringError
from steering.interventions.patterns import (
    Prefixes,
    check_pattern,
    check_topic,
    lies_in_match,
    names_finding,
    sentence_so_far,
    word_pattern,
)

PIECES = ["Small", " ple", "ural", " eff", "usion", "."]


def decode(ids):
    return "".join(PIECES[i] for i in ids).strip()


def test_words_are_whole_and_in_any_case():
    pattern = word_pattern(["effusion", "pleural  effusion", "T2."])
    assert re.search(pattern, "An Effusion.")
    assert re.search(pattern, "PLEURAL\neffusion")
    assert not re.search(pattern, "effusions")
    assert not re.search(pattern, "T25")


def test_spans_are_those_of_the_last_token_without_white_space():
    prefixes = Prefixes(decode)
    assert prefixes((0,)) == ("Small", (0, 5))
    assert prefixes((0, 1)) == ("Small ple", (6, 9))
    assert prefixes((0, 1, 2)) == ("Small pleural", (9, 13))


@pytest.mark.parametrize(("count", "inside"), [(3, False), (4, False), (5, True), (6, False)])
def test_a_phrase_is_matched_by_the_token_that_completes_it(count, inside):
    text, span = Prefixes(decode)(tuple(range(count)))
    assert lies_in_match(word_pattern(["pleural effusion"]), text, span) == inside


def test_sentence_so_far():
    assert sentence_so_far("The heart is big. No pleu") == "No pleu"
    assert sentence_so_far("The heart is big.") == "The heart is big."
    assert sentence_so_far("") == ""


def test_a_topic_is_named_whatever_is_said_of_it():
    for text in ("Small left pleural effusion.", "No pleural effusion", "Possible pleural effusion"):
        assert names_finding(text, "pleural_effusion")
    assert not names_finding("No pleural", "pleural_effusion")
    assert names_finding("Left pleural effusion", "pleural_effusion:left")
    assert not names_finding("Left pleural effusion", "pleural_effusion:right")


@pytest.mark.parametrize("pattern", ["(", "[a", "", 3])
def test_wrong_patterns(pattern):
    with pytest.raises(SteeringError, match=r"tokens\.pattern: .*regular expression"):
        check_pattern("tokens.pattern", pattern)


@pytest.mark.parametrize(
    ("key", "words"), [("effusions2", "does not exist"), ("cardiomegaly:up", "side"), ("", "a fin")]
)
def test_wrong_topics(key, words):
    with pytest.raises(SteeringError, match=words):
        check_topic("gate.topic", key)
