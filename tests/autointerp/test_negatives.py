"""Hard negatives contradict first, and then look alike."""

from __future__ import annotations

import numpy as np

from autointerp.catalogue import Catalogue
from autointerp.negatives import rank_co_firing, rank_images, rank_sentences, take_in_turns
from autointerp.reading import read_findings
from autointerp.schema import Hardness
from autointerp.units import Documents


def catalogue_of(*texts: str) -> Catalogue:
    documents = Documents()
    for text in texts:
        documents.add(text, read_findings(text))
    return Catalogue.of(documents)


def reports_of(*findings: tuple[str, ...] | None) -> Catalogue:
    documents = Documents()
    for found in findings:
        documents.add(None, found)
    return Catalogue.of(documents)


def test_the_other_polarity_is_apart_and_nearest_words_come_first() -> None:
    catalogue = catalogue_of(
        "There is a small left pleural effusion.",  # fires
        "There is a large right pleural effusion.",  # fires
        "No pneumothorax.",
        "There is a small left pneumothorax.",
        "The heart is enlarged.",
        "There is no pleural effusion.",
        "There may be a pleural effusion.",
    )
    ranking = rank_sentences(catalogue, np.array([0, 1]), np.arange(2, 7), np.zeros(5))
    assert set(ranking[Hardness.OTHER_POLARITY] + 2) == {5, 6}
    nearest = ranking[Hardness.NEAREST_TEXT] + 2
    assert nearest[0] == 3
    assert set(nearest[1:]) == {2, 4}


def test_a_sentence_in_the_words_of_a_firing_one_is_no_hard_negative() -> None:
    catalogue = catalogue_of("There is a left nodule.", "A left nodule is seen.", "No nodule.")
    ranking = rank_sentences(catalogue, np.array([0]), np.array([1, 2]), np.zeros(2))
    assert np.concatenate(list(ranking.values())).tolist() == [1]


def test_near_duplicates_differ_in_fillers_and_numbers_only() -> None:
    duplicate = catalogue_of(
        "There is a 5 cm left nodule.", "A 7 cm left nodule is seen.", "There is a right nodule.", "No left nodule."
    ).duplicate
    assert duplicate[0] == duplicate[1]
    assert len(set(duplicate[1:])) == 3


def test_hard_images_match_in_everything_but_the_finding() -> None:
    catalogue = reports_of(
        ("pneumothorax=present", "pacemaker=present"),  # fires
        ("pneumothorax=present", "cardiomegaly=present"),  # fires
        ("cardiomegaly=present",),
        ("pacemaker=present",),
        ("lung_nodule=present", "pulmonary_edema=present", "consolidation=present"),
        None,
    )
    quiet = np.arange(2, 6)
    ranking = rank_images(catalogue, np.array([0, 1]), quiet, quiet, np.zeros(4), 3)
    assert quiet[ranking[Hardness.NEAREST_TEXT]].tolist() == [3, 2, 4]  # firing images in turn; unknown ones never


def test_an_image_whose_report_denies_the_finding_is_of_the_other_polarity() -> None:
    catalogue = reports_of(("pneumothorax=present",), ("pneumothorax=absent",), ("pacemaker=present",))
    quiet = np.array([1, 2])
    ranking = rank_images(catalogue, np.array([0]), quiet, quiet, np.zeros(2), 2)
    assert ranking[Hardness.OTHER_POLARITY].tolist() == [0]
    assert ranking[Hardness.NEAREST_TEXT].tolist() == [1]


def test_no_study_is_used_twice() -> None:
    catalogue = reports_of(("pneumothorax=present",), (), (), ())
    quiet = np.array([1, 2, 3])
    ranking = rank_images(catalogue, np.array([0]), quiet, np.array([8, 8, 9]), np.zeros(3), 3)
    assert sum(len(order) for order in ranking.values()) == 2


def test_nothing_known_gives_no_hard_image() -> None:
    catalogue = reports_of(None, None)
    assert rank_images(catalogue, np.array([0]), np.array([1]), np.array([1]), np.zeros(1), 2) == {}


def test_ways_to_be_hard_take_turns_and_who_has_none_left_passes() -> None:
    ranking = {Hardness.OTHER_POLARITY: np.array([0, 1, 2]), Hardness.NEAREST_TEXT: np.array([3, 4])}
    places, ways = take_in_turns(ranking, np.arange(5), 10)
    assert places.tolist() == [0, 1, 3, 2, 4]
    assert ways.tolist() == [*["other_polarity"] * 2, "nearest_text", "other_polarity", "nearest_text"]
    assert take_in_turns(ranking, np.arange(5), 3)[0].tolist() == [0, 1, 3]
    assert take_in_turns({}, np.arange(4), 2)[0].tolist() == []


def test_of_contexts_that_say_the_same_one_is_taken() -> None:
    ranking = {Hardness.OTHER_POLARITY: np.array([0, 1]), Hardness.CO_FIRING: np.array([2, 1, 3])}
    assert take_in_turns(ranking, np.array([5, 6, 5, 7]), 10)[0].tolist() == [0, 1, 3]


def test_company_that_fires_makes_a_quiet_context_hard() -> None:
    company = np.array([0.0, 0.5, 2.0, 1.0])
    same_as_firing = np.array([False, False, False, True])
    assert rank_co_firing(company, same_as_firing, np.zeros(4)).tolist() == [2, 1]
