"""Hard negatives contradict first, and then look alike."""

from __future__ import annotations

import numpy as np

from autointerp.catalogue import Catalogue
from autointerp.negatives import hard_images, hard_sentences
from autointerp.reading import read_findings
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


def test_the_other_polarity_comes_first_then_nearest_words() -> None:
    catalogue = catalogue_of(
        "There is a small left pleural effusion.",  # fires
        "There is a large right pleural effusion.",  # fires
        "No pneumothorax.",
        "There is a small left pneumothorax.",
        "The heart is enlarged.",
        "There is no pleural effusion.",
        "There may be a pleural effusion.",
    )
    order = hard_sentences(catalogue, np.array([0, 1]), np.arange(2, 7), np.zeros(5)) + 2
    assert set(order[:2]) == {5, 6}
    assert order[2] == 3
    assert set(order[3:]) == {2, 4}


def test_a_sentence_in_the_words_of_a_firing_one_is_no_hard_negative() -> None:
    catalogue = catalogue_of("There is a left nodule.", "A left nodule is seen.", "No nodule.")
    assert hard_sentences(catalogue, np.array([0]), np.array([1, 2]), np.zeros(2)).tolist() == [1]


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
    chosen = quiet[hard_images(catalogue, np.array([0, 1]), quiet, quiet, np.zeros(4), 3)]
    assert chosen.tolist() == [3, 2, 4]  # each firing image in turn; unknown findings never


def test_no_study_is_used_twice() -> None:
    catalogue = reports_of(("pneumothorax=present",), (), (), ())
    quiet = np.array([1, 2, 3])
    chosen = hard_images(catalogue, np.array([0]), quiet, np.array([8, 8, 9]), np.zeros(3), 3)
    assert len(chosen) == 2


def test_nothing_known_gives_no_hard_image() -> None:
    catalogue = reports_of(None, None)
    assert len(hard_images(catalogue, np.array([0]), np.array([1]), np.array([1]), np.zeros(1), 2)) == 0
