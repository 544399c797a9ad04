"""Grounded text: what is written is read back, whatever is read loses no word, and boxes map there and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiology.errors import InputError
from radiology.grounding import Grounded, parse_grounded, to_crop, to_original, write_grounded
from radiology.study import Box, GroundedSentence

MARKS = ["<obj>", "</obj>", "<box>", "</box>", "<x3>", "<y10>", "<x9>", "<y14>", "<x100>", "<y0>", "<x", "7>", "\n"]
WORDS = ["Small", "left", "effusion.", "heart"]


def boxes() -> st.SearchStrategy[Box]:
    corners = st.tuples(*[st.floats(0, 1)] * 4)
    return corners.map(lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3])))


def sentences() -> st.SearchStrategy[list[GroundedSentence]]:
    text = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
    return st.lists(st.builds(GroundedSentence, text, st.lists(boxes(), max_size=3).map(tuple)), max_size=4)


def bare_words(text: str) -> list[str]:
    return re.sub("</?(?:obj|box)>|<[xy][0-9]+>", " ", text).split()


@given(sentences(), st.integers(2, 100))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_back(written: list[GroundedSentence], bins: int) -> None:
    text = write_grounded(written, bins)
    read = parse_grounded(text, bins)
    assert read.errors == ()
    assert [s.text for s in read.sentences] == [s.text for s in written]
    assert read.text == " ".join(s.text for s in written)
    for before, after in zip(written, read.sentences, strict=True):
        for box, back in zip(before.boxes, after.boxes, strict=True):
            assert max(abs(a - b) for a, b in zip(box, back, strict=True)) <= 1.5 / bins + 1e-9
            assert back[0] < back[2]
            assert back[1] < back[3]
    assert write_grounded(read.sentences, bins) == text
    assert parse_grounded(text.replace(" <", "<").replace("> ", ">"), bins) == read


@given(st.one_of(st.text(), st.lists(st.sampled_from([*MARKS, *WORDS])).map(" ".join)), st.integers(1, 100))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_and_no_word_is_lost(text: str, bins: int) -> None:
    read = parse_grounded(text, bins)
    assert read.text.split() == bare_words(text)
    kept = [word for sentence in read.sentences for word in sentence.text.split()]
    outside = list(read.text.split())
    for word in kept:
        outside.remove(word)  # each word of a sentence is one of the text's
    assert not outside or read.errors or read == Grounded((), text, ())


def test_a_plain_report_is_no_error() -> None:
    assert parse_grounded(" The heart  is normal. ", 100) == Grounded((), " The heart  is normal. ", ())


def test_a_bin_stands_for_its_centre() -> None:
    read = parse_grounded(" <obj>Effusion.<box><x55><y45><x70><y56></box></obj><obj> No pneumothorax.</obj>", 100)
    assert read.sentences == (
        GroundedSentence("Effusion.", ((0.555, 0.455, 0.705, 0.565),)),
        GroundedSentence("No pneumothorax."),
    )
    assert read.errors == ()


@pytest.mark.parametrize(
    ("text", "kept", "errors"),
    [
        ("<obj> a", ["a"], ["not closed"]),
        ("a </obj>", [], ["outside of a finding", "without <obj>"]),
        ("<obj> a </obj> b", ["a"], ["outside of a finding"]),
        ("<obj> </obj>", [], ["without words"]),
        ("<obj> a <box> <x1> <y1> <x2> </box> </obj>", ["a"], ["needs <x> <y> <x> <y>"]),
        ("<obj> a <box> <x5> <y1> <x2> <y3> </box> </obj>", ["a"], ["swapped"]),
        ("<obj> a <box> <x5> <y1> <x100> <y3> </box> </obj>", ["a"], ["beyond"]),
        (f"<obj> a <box> <x{'9' * 5000}> <y1> <x1> <y3> </box> </obj>", ["a"], ["beyond"]),
        ("<obj> a <box> <x5> b <y1> </obj>", ["a b"], ["words inside", "not closed"]),
        ("<obj> a <x5> </obj>", ["a"], ["<x5> outside of a box"]),
        ("<box> <x1> <y1> <x2> <y3> </box>", [], ["outside of a finding"]),
        ("<obj> a <obj> b </obj>", ["a", "b"], ["not closed"]),
    ],
)
def test_malformed_text_is_kept_and_counted(text: str, kept: list[str], errors: list[str]) -> None:
    read = parse_grounded(text, 100)
    assert [sentence.text for sentence in read.sentences] == kept
    assert all(sentence.boxes == () for sentence in read.sentences)
    assert len(read.errors) == len(errors)
    for error, part in zip(read.errors, errors, strict=True):
        assert part in error


def test_messages_hold_no_words_of_the_report() -> None:
    read = parse_grounded("secret <obj> word <box> secret <x1> </obj> secret", 100)
    assert len(read.errors) >= 3
    assert not any("secret" in error or "word " in error for error in read.errors)


@given(boxes(), st.integers(1, 4000), st.integers(1, 4000))
@settings(max_examples=200, deadline=None)
def test_the_crop_maps_to_the_original_and_back(box: Box, width: int, height: int) -> None:
    there = to_original(box, width, height)
    assert min(there) >= -1e-12
    assert max(there) <= 1 + 1e-12
    back = to_crop(there, width, height)
    if box[2] - box[0] > 1e-9 and box[3] - box[1] > 1e-9:
        assert back == pytest.approx(box, abs=1e-9)


def test_the_crop_is_the_middle_square() -> None:
    assert to_original((0, 0, 1, 1), 200, 100) == (0.25, 0, 0.75, 1)
    assert to_original((0.5, 0.5, 1, 1), 100, 400) == pytest.approx((0.5, 0.5, 1, 0.625))
    assert to_crop((0, 0, 0.5, 1), 200, 100) == (0, 0, 0.5, 1)  # cut off at the crop's left edge


@pytest.mark.parametrize("box", [(0, 0, 0.2, 1), (0.8, 0.2, 0.9, 0.4), (0.1, 0, 0.25, 1)])
def test_a_box_beside_the_crop_is_none(box: Box) -> None:
    assert to_crop(box, 200, 100) is None


def test_what_cannot_be_written_or_cropped_is_refused() -> None:
    with pytest.raises(InputError, match="holds a mark"):
        write_grounded([GroundedSentence("a </obj> b")], 100)
    with pytest.raises(InputError, match="bins"):
        write_grounded([], 0)
    with pytest.raises(InputError, match="bins"):
        parse_grounded("", 0)
    with pytest.raises(InputError, match="0 × 5 pixels"):
        to_crop((0, 0, 1, 1), 0, 5)
