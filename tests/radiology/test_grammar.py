"""The report language of the phantom: what is written can be read back, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiology.errors import InputError
from radiology.phantom.factors import (
    FIELD_OF_KEY,
    FINDING_KEYS,
    Factors,
    change_of,
    sample_factors,
    sample_nuisance,
    sample_prior,
)
from radiology.phantom.grammar import (
    VOCABULARY,
    join_words,
    parse_grounded,
    parse_report,
    report_text,
    tokenize_words,
    write_grounded,
    write_report,
    write_sections,
)
from radiology.phantom.grammar_meanings import sentence_meanings


def _draw(rng: np.random.Generator, with_prior: bool) -> tuple[Factors, Factors | None]:
    factors = sample_factors(rng)
    return factors, sample_prior(rng, factors) if with_prior else None


def test_parser_gives_back_what_was_written() -> None:
    rng = np.random.default_rng(0)
    for number in range(3000):
        factors, prior = _draw(rng, number % 2 == 1)
        parsed = parse_report(report_text(write_report(rng, factors, prior)))
        assert parsed.errors == []
        truth = factors.labels()
        hedged = {key for key, field in FIELD_OF_KEY.items() if field in factors.subtle}
        assert parsed.label_statuses() == {key: "uncertain" if key in hedged else truth[key] for key in FINDING_KEYS}
        for key, field in FIELD_OF_KEY.items():
            value = getattr(factors, field)
            assert parsed.details.get(key) == (value if isinstance(value, str) else None)
            assert parsed.change.get(key) == (None if prior is None else change_of(prior, factors, field))


def test_concepts_are_as_strong_as_their_stronger_side() -> None:
    factors = Factors(effusion_left="small", effusion_right="large", subtle=frozenset({"effusion_left"}))
    parsed = parse_report(report_text(write_report(np.random.default_rng(0), factors)))
    assert parsed.status["pleural_effusion:left"] == "uncertain"
    assert parsed.concept_statuses()["pleural_effusion"] == "present"
    assert parsed.concept_statuses()["pneumothorax"] == "absent"


def test_every_report_covers_heart_lungs_and_pleura() -> None:
    rng = np.random.default_rng(1)
    covered = {"cardiomegaly", "consolidation", "pulmonary_edema", "lung_nodule", "pleural_effusion", "pneumothorax"}
    for number in range(300):
        factors, prior = _draw(rng, number % 2 == 1)
        named = {key.split(":")[0] for sentence in write_report(rng, factors, prior) for key, _ in sentence.keys}
        assert covered <= named


def test_only_the_wording_is_random() -> None:
    rng = np.random.default_rng(2)
    for number in range(100):
        factors, prior = _draw(rng, number % 2 == 1)
        reports = [write_report(np.random.default_rng(seed), factors, prior) for seed in range(5)]
        parses = [parse_report(report_text(report)) for report in reports]
        assert all(parse == parses[0] for parse in parses)
    assert len({report_text(write_report(np.random.default_rng(seed), Factors())) for seed in range(50)}) > 10


def test_reports_are_short_and_the_vocabulary_small() -> None:
    rng = np.random.default_rng(3)
    lengths = [len(report_text(write_report(rng, *_draw(rng, number % 2 == 1))).split()) for number in range(2000)]
    assert np.median(lengths) <= 45
    assert max(lengths) <= 95
    assert len(VOCABULARY) <= 170


def test_words_join_to_the_same_text_and_are_all_in_the_vocabulary() -> None:
    rng = np.random.default_rng(4)
    vocabulary = set(VOCABULARY)
    for number in range(500):
        factors, prior = _draw(rng, number % 2 == 1)
        sections = write_sections(rng, factors, prior, sample_nuisance(rng, factors), lateral=number % 3 == 0)
        for text in (report_text(write_report(rng, factors, prior)), *sections.values()):
            if text is not None:
                words = tokenize_words(text)
                assert join_words(words) == text
                assert vocabulary.issuperset(words)


def test_no_sentence_has_two_meanings_even_in_lower_case() -> None:
    lowered: dict[str, object] = {}
    for text, meaning in sentence_meanings().items():
        assert lowered.setdefault(text.lower(), meaning) == meaning


def test_case_and_spacing_do_not_matter_to_the_parser() -> None:
    text = report_text(write_report(np.random.default_rng(5), sample_factors(np.random.default_rng(5))))
    assert parse_report(text.upper().replace(" ", "  ")) == parse_report(text)


def test_foreign_and_contradicting_sentences_are_errors() -> None:
    foreign = parse_report("The heart is normal in size. The moon is full. No pneumo")
    assert len(foreign.errors) == 2
    assert foreign.status == {"cardiomegaly": "absent"}
    contradiction = parse_report("No pneumothorax. There is a small left pneumothorax.")
    assert len(contradiction.errors) == 1
    assert contradiction.label_statuses()["pneumothorax:left"] == "absent"
    two_sizes = parse_report("There is a small left pneumothorax. There is a large left pneumothorax.")
    assert "pneumothorax:left" in two_sizes.errors[0]
    assert parse_report("").errors == []


def test_comparison_is_there_exactly_with_a_prior_and_indication_is_no_oracle() -> None:
    rng = np.random.default_rng(6)
    with_tube: dict[str | None, set[bool]] = {}
    for number in range(4000):
        factors, prior = _draw(rng, number % 2 == 1)
        sections = write_sections(rng, factors, prior, sample_nuisance(rng, factors))
        assert (sections["comparison"] is None) == (prior is None)
        assert sections["technique"]
        for name in ("indication", "technique"):
            with_tube.setdefault(sections[name], set()).add(factors.endotracheal_tube)
    assert None in with_tube
    assert all(seen == {True, False} for seen in with_tube.values())


def test_a_moved_lesion_is_unchanged_but_told_at_its_new_place() -> None:
    now = Factors(nodule_left="lower")
    parsed = parse_report(report_text(write_report(np.random.default_rng(0), now, replace(now, nodule_left="upper"))))
    assert parsed.details["lung_nodule:left"] == "lower"
    assert parsed.change["lung_nodule:left"] == "unchanged"


@given(
    st.integers(2, 100),
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_grounded_text_comes_back_within_a_bin(bins: int, corners: list[tuple[float, float, float, float]]) -> None:
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    text = write_grounded([("No pneumothorax.", []), ("There is a nodule.", boxes)], bins)
    findings, errors = parse_grounded(text, bins)
    assert errors == []
    assert [words for words, _ in findings] == ["No pneumothorax.", "There is a nodule."]
    assert findings[0][1] == []
    for box, read in zip(boxes, findings[1][1], strict=True):
        assert np.abs(np.subtract(box, read)).max() <= 1.5 / bins + 1e-9
        assert read[0] < read[2]
        assert read[1] < read[3]
    packed = text.replace(" <", "<").replace("> ", ">")
    assert parse_grounded(packed, bins) == (findings, [])


def test_grounded_values_are_bin_centres() -> None:
    findings, errors = parse_grounded("<obj> x <box> <x3> <y10> <x9> <y14> </box> </obj>", 32)
    assert errors == []
    assert findings == [("x", [(3.5 / 32, 10.5 / 32, 9.5 / 32, 14.5 / 32)])]
    assert write_grounded(findings, 32) == "<obj> x <box> <x3> <y10> <x9> <y14> </box> </obj>"


@pytest.mark.parametrize(
    ("text", "kept", "message"),
    [
        ("<obj> a", ["a"], "not closed"),
        ("a </obj>", [], "outside of a finding"),
        ("<obj> </obj>", [], "without words"),
        ("<obj> a <box> <x1> <y1> <x2> </box> </obj>", ["a"], "needs"),
        ("<obj> a <box> <x5> <y1> <x2> <y3> </box> </obj>", ["a"], "swapped"),
        ("<obj> a <box> <x5> <y1> <x32> <y3> </box> </obj>", ["a"], "beyond"),
        ("<obj> a <box> <x5> <y1> </obj>", ["a"], "not closed"),
        ("<obj> a <x5> </obj>", ["a"], "outside of a box"),
        ("<box> <x1> <y1> <x2> <y3> </box>", [], "outside of a finding"),
    ],
)
def test_malformed_grounded_text_is_reported(text: str, kept: list[str], message: str) -> None:
    findings, errors = parse_grounded(text, 32)
    assert [words for words, _ in findings] == kept
    assert all(boxes == [] for _, boxes in findings)
    assert any(message in error for error in errors)


def test_wrong_boxes_and_bins_are_refused() -> None:
    with pytest.raises(InputError, match="x0 ≤ x1"):
        write_grounded([("a", [(0.5, 0, 0.2, 1)])], 32)
    with pytest.raises(InputError, match="bins"):
        parse_grounded("", 0)
