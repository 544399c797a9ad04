"""Comparing two reports."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import radiology
from radiology.compare import compare
from radiology.phantom.factors import Factors, counterfactual, factor_names, sample_factors
from radiology.phantom.grammar import report_text, write_report
from tests.radiology.graded import graded_sentences


def _reports(n: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [report_text(write_report(rng, sample_factors(rng))) for _ in range(n)]


def test_a_report_does_not_differ_from_itself() -> None:
    for report in _reports(100):
        change = compare(report, report)
        assert not change
        assert not change.findings_differ


def test_swapping_the_reports_swaps_the_answer() -> None:
    for before, after in pairwise(_reports(200)):
        there, back = compare(before, after), compare(after, before)
        assert there.added == back.removed
        assert there.removed == back.added
        assert there.added_sentences == back.removed_sentences
        for one, other in ((there.flipped, back.flipped), (there.changed, back.changed)):
            assert {(c.before, c.after, c.fields) for c in one} == {(c.after, c.before, c.fields) for c in other}


def test_switching_one_factor_changes_its_finding_only() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        factors = sample_factors(rng)
        for name in factor_names():
            twin = counterfactual(factors, name)
            texts = [report_text(write_report(np.random.default_rng(0), chest)) for chest in (factors, twin)]
            change = compare(*texts)
            assert change.findings_differ
            touched = {f.concept for f in (*change.added, *change.removed)}
            touched |= {c.before.concept for c in (*change.flipped, *change.changed)}
            concept = name.removesuffix("_left").removesuffix("_right")
            allowed = {"effusion": "pleural_effusion", "edema": "pulmonary_edema", "nodule": "lung_nodule"}.get(concept)
            assert touched <= {allowed or concept, "lung_opacity"}  # "the lungs are clear" speaks of opacities too


def test_other_words_for_the_same_are_no_change_of_findings() -> None:
    texts = {
        report_text(write_report(np.random.default_rng(seed), Factors(effusion_left="small"))) for seed in range(9)
    }
    assert len(texts) > 1
    for before, after in pairwise(sorted(texts)):
        change = compare(before, after)
        assert not [f for f in (*change.added, *change.removed) if f.status != "absent"]
        assert not change.flipped
        assert not change.changed
        assert change
        assert change.added_sentences


def test_kinds_of_change() -> None:
    added = compare("No pneumothorax.", "No pneumothorax. Right nodule.")
    assert [(f.concept, f.side) for f in added.added] == [("lung_nodule", "right")]
    assert added.added_sentences == ("Right nodule.",)
    assert (added.removed, added.flipped, added.changed) == ((), (), ())

    flipped = compare("No pleural effusion.", "Small left pleural effusion.")
    assert [c.fields[0] for c in flipped.flipped] == ["status"]
    assert (flipped.added, flipped.removed) == ((), ())

    doubt = compare("Left nodule.", "Possible left nodule.")
    assert [(c.before.status, c.after.status) for c in doubt.flipped] == [("present", "uncertain")]

    changed = compare("Small left pleural effusion is unchanged.", "Large left pleural effusion has increased.")
    assert [c.fields for c in changed.changed] == [("severity", "change")]

    moved = compare("Left nodule.", "Right nodule.")
    assert [c.fields for c in moved.changed] == [("side",)]

    misplaced = compare("The NG tube ends in the stomach.", "The NG tube is misplaced.")
    assert [c.fields for c in misplaced.changed] == [("placement",)]

    spread = compare("Left pleural effusion.", "Bilateral pleural effusions.")
    assert [(f.concept, f.side) for f in spread.added] == [("pleural_effusion", "right")]


def test_the_order_of_sentences_is_no_difference() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        sentences = list(rng.choice(_SENTENCES, 6, replace=False))
        assert not compare(" ".join(sentences), " ".join(rng.permutation(sentences)))


def test_negating_a_sentence_flips_exactly_its_finding() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        sentences = list(rng.choice(_SENTENCES, 6, replace=False))
        place = int(rng.integers(6))
        denied = list(sentences)
        denied[place] = denied[place].replace("There is a", "There is no").replace("is present", "is not present")
        change = compare(" ".join(sentences), " ".join(denied))
        (flipped,) = change.flipped
        assert (flipped.before.status, flipped.after.status) == ("present", "absent")
        assert flipped.before.sentence == sentences[place]
        assert flipped.after.sentence == denied[place]
        assert (change.added, change.removed, change.changed) == ((), (), ())
        assert (change.added_sentences, change.removed_sentences) == ((denied[place],), (sentences[place],))


def test_swapping_real_sounding_reports_swaps_the_answer() -> None:
    texts = [sentence.text for held_out in (False, True) for sentence in graded_sentences(held_out)]
    rng = np.random.default_rng(5)
    reports = [" ".join(rng.choice(texts, 6)) for _ in range(200)]
    for before, after in pairwise(reports):
        assert not compare(before, before)
        there, back = compare(before, after), compare(after, before)
        assert (there.added, there.removed) == (back.removed, back.added)
        for one, other in ((there.flipped, back.flipped), (there.changed, back.changed)):
            assert {(c.before, c.after, c.fields) for c in one} == {(c.after, c.before, c.fields) for c in other}


#: One finding each, none of them twice.
_SENTENCES = (
    "There is a small left pleural effusion.",
    "There is a right apical pneumothorax.",
    "There is a hiatal hernia.",
    "There is a nodule in the right upper lobe.",
    "There is a mass in the left hilum.",
    "There is a calcified granuloma at the left base.",
    "There is a fracture of the left clavicle.",
    "There is a right upper lobe consolidation.",
    "Mild pulmonary edema is present.",
    "Left basilar atelectasis is present.",
    "Cardiomegaly is present.",
    "Right lower lobe pneumonia is present.",
    "Thoracic scoliosis is present.",
    "A left pacemaker is present.",
    "A right PICC is present.",
    "Right apical pleural thickening is present.",
)


def test_the_package_offers_the_function_under_the_name_of_its_module() -> None:
    assert radiology.compare is compare
    assert set(radiology.__all__) <= set(dir(radiology))
    assert all(getattr(radiology, name) for name in radiology.__all__)
