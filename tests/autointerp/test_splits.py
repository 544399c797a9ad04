"""A patient is in one split, whoever asks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.files import features_folder, read_frame
from autointerp.schema import CONTEXTS_FILE, Split
from autointerp.splits import in_split, split_of


@settings(deadline=None)
@given(st.text(), st.integers(0, 2**31))
def test_the_split_depends_on_patient_and_seed_alone(patient: str, seed: int) -> None:
    assert split_of(patient, seed) is split_of(patient, seed)
    assert in_split([patient, patient], Split.SCORE, seed).tolist() == [split_of(patient, seed) is Split.SCORE] * 2


def test_about_half_of_the_patients_explain() -> None:
    share = in_split([f"p{i}" for i in range(4000)], Split.EXPLAIN).mean()
    assert 0.46 < share < 0.54


def test_explain_and_score_contexts_never_share_a_patient(hand_run) -> None:
    contexts = read_frame(features_folder(hand_run.run_dir, "main") / CONTEXTS_FILE)
    patients = contexts.groupby("split")["patient_id"].agg(set)
    assert patients[Split.EXPLAIN].isdisjoint(patients[Split.SCORE])
    assert set(patients.index) == set(Split)
    assert (contexts.groupby("patient_id")["split"].nunique() == 1).all()
