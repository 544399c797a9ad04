"""The offline judge: laws of entailment, and pairs of reports graded by hand before it saw them."""

from __future__ import annotations

from pathlib import Path

import pytest

from radiology.metrics.entailment import FindingsEntailment

JUDGE = FindingsEntailment()
GRADED = Path(__file__).with_name("graded_pairs.txt")
Graded = tuple[str, list[str], bool]


def graded_phrases() -> list[Graded]:
    """(phrase, phrases of the other side, whether it follows)."""
    pairs: list[dict[str, list[tuple[str, bool]]]] = []
    for line in GRADED.read_text().splitlines():
        if line == "=":
            pairs.append({"C": [], "R": []})
        elif line and not line.startswith("#"):
            side, grade, phrase = line.split(" ", 2)
            pairs[-1][side].append((phrase, grade == "+"))
    return [
        (phrase, [text for text, _ in pair[other]], follows)
        for pair in pairs
        for side, other in (("C", "R"), ("R", "C"))
        for phrase, follows in pair[side]
    ]


def test_it_agrees_with_the_grades() -> None:
    graded = graded_phrases()
    found = [JUDGE.judge(phrase, others).entailed for phrase, others, _ in graded]
    truth = [follows for *_, follows in graded]
    both = sum(f and t for f, t in zip(found, truth, strict=True))
    accuracy = sum(f == t for f, t in zip(found, truth, strict=True)) / len(truth)
    assert len(graded) >= 120
    assert 0.4 < sum(truth) / len(truth) < 0.6
    assert accuracy >= 0.95
    assert 2 * both / (sum(found) + sum(truth)) >= 0.95


def test_every_phrase_follows_from_itself_with_itself_as_evidence() -> None:
    for phrase, others, _ in graded_phrases():
        verdict = JUDGE.judge(phrase, ["The trachea is midline.", phrase])
        assert verdict.entailed, phrase
        assert 1 in verdict.evidence
        assert not JUDGE.judge(phrase, []).entailed
        assert JUDGE.judge(phrase, [*others, phrase]).entailed


def test_the_order_of_premises_does_not_matter() -> None:
    for phrase, others, _ in graded_phrases():
        there, back = JUDGE.judge(phrase, others), JUDGE.judge(phrase, others[::-1])
        assert there.entailed == back.entailed, phrase
        assert {others[i] for i in there.evidence} == {others[::-1][i] for i in back.evidence}


def test_evidence_is_there_exactly_for_what_is_entailed() -> None:
    for phrase, others, _ in graded_phrases():
        verdict = JUDGE.judge(phrase, others)
        assert bool(verdict.evidence) == verdict.entailed
        assert not verdict.failed


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("Small left pleural effusion.", "Pleural effusion."),
        ("Small left pleural effusion.", "Left effusion."),
        ("Bilateral effusions.", "Right effusion."),
        ("Right lower lobe consolidation.", "Right lung opacity."),
        ("No effusion.", "No left effusion."),
        ("No effusion.", "No large effusion."),
        ("The lungs are clear.", "No consolidation."),
        ("The cardiomediastinal silhouette is normal.", "Heart size is normal."),
        ("There is a defibrillator.", "Pacemaker."),
        ("Worsening left effusion.", "Left effusion."),
    ],
)
def test_more_entails_less_and_not_the_other_way(more: str, less: str) -> None:
    assert JUDGE.judge(less, [more]).entailed
    assert not JUDGE.judge(more, [less]).entailed


@pytest.mark.parametrize(
    ("phrase", "premise"),
    [
        ("Left effusion.", "Right effusion."),
        ("Pleural effusion.", "No pleural effusion."),
        ("No pleural effusion.", "Pleural effusion."),
        ("Pneumonia.", "Possible pneumonia."),
        ("Large effusion.", "Small effusion."),
        ("No pneumothorax.", "The lungs are clear."),
        ("The bones are normal.", "No acute bony abnormality."),
        ("Stable effusion.", "Left effusion."),
    ],
)
def test_what_does_not_follow(phrase: str, premise: str) -> None:
    assert not JUDGE.judge(phrase, [premise]).entailed


def test_two_sides_make_both() -> None:
    verdict = JUDGE.judge("Bilateral effusions.", ["Left effusion.", "No edema.", "Right effusion."])
    assert verdict.entailed
    assert verdict.evidence == (0, 2)


def test_a_general_denial_gives_way_to_a_finding() -> None:
    premises = ["8 mm nodule in the right upper lobe.", "The remaining lungs are clear."]
    assert not JUDGE.judge("No nodule.", premises).entailed


def test_words_that_claim_nothing_are_not_entailed() -> None:
    assert not JUDGE.judge("...", ["Left effusion."]).entailed
