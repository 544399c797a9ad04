from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activations.studies_files import ROW_GROUP, SCHEMA, write_part
from activations.studies_table import StudyIndex, base_record, patient_share, split_of
from radiology.errors import InputError
from radiology.study import Study


def write_run(directory: Path, studies: list[Study]) -> StudyIndex:
    records = [
        {**base_record(study, number, "test"), "rows": number, "preview_frontal": str(number).encode()}
        for number, study in enumerate(studies)
    ]
    write_part(directory, 0, 0, records)
    (directory / "studies-00000-00000.parquet").rename(directory / "studies.parquet")
    return StudyIndex.read(directory)


@pytest.fixture
def index(tmp_path: Path, studies: list[Study]) -> StudyIndex:
    return write_run(tmp_path, studies)


def test_labels_grounding_and_metadata_come_back(index: StudyIndex, studies: list[Study]) -> None:
    assert len(index) == len(studies)
    for study, row in zip(studies, index.frame.itertuples(), strict=True):
        assert row.labels == study.labels
        assert row.metadata == study.metadata
        assert study.grounded is not None
        assert row.grounded == [
            {"text": one.text, "boxes": [list(box) for box in one.boxes], "label": one.label} for one in study.grounded
        ]
        assert row.indication == study.indication


def test_label_matrix_has_one_zero_and_unknown(index: StudyIndex, studies: list[Study]) -> None:
    assert index.keys == ("cardiomegaly",)
    values = {"present": 1, "absent": 0}
    expected = [values.get((study.labels or {}).get("cardiomegaly", ""), np.nan) for study in studies]
    np.testing.assert_array_equal(index.label_matrix()[:, 0], np.array(expected, dtype=np.float32))
    assert index.label_matrix([]).shape == (len(studies), 0)
    with pytest.raises(InputError, match="no study has gout; there are cardiomegaly"):
        index.label_matrix(["gout"])


@given(st.integers(0, 1000))
def test_halves_share_no_patient_and_cover_all(seed: int) -> None:
    patients = [f"p{number // 3}" for number in range(90)]
    index = StudyIndex(pd.DataFrame({"patient_id": patients, "labels": None}))
    select, report = index.halves(seed)
    assert (select ^ report).all()
    ids = np.array(patients)
    assert not set(ids[select]) & set(ids[report])


def test_halves_are_near_halves_and_do_not_depend_on_other_studies() -> None:
    frame = pd.DataFrame({"patient_id": [f"p{number}" for number in range(1000)]})
    select, _ = StudyIndex(frame).halves(0)
    assert 440 < select.sum() < 560
    np.testing.assert_array_equal(StudyIndex(frame[::7]).halves(0)[0], select[::7])
    assert (StudyIndex(frame).halves(1)[0] != select).any()


def test_split_is_the_sources_own_or_by_patient(studies: list[Study]) -> None:
    assert split_of(dataclasses.replace(studies[0], metadata={"split": "pilot"})) == "pilot"
    splits = [split_of(dataclasses.replace(studies[0], patient_id=f"p{n}")) for n in range(2000)]
    shares = pd.Series(splits).value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.8, abs=0.04)
    assert shares["validate"] == pytest.approx(0.1, abs=0.03)
    assert split_of(studies[0]) == split_of(dataclasses.replace(studies[1], patient_id=studies[0].patient_id))
    assert 0 <= patient_share("x") < 1


@dataclass(frozen=True)
class Factors:
    side: str
    subtle: frozenset[str]


def test_metadata_of_many_kinds_becomes_json(studies: list[Study]) -> None:
    metadata = {
        "factors": Factors("left", frozenset({"b", "a"})),
        "age": np.int64(7),
        "mask": np.eye(2, dtype=bool),
        "day": date(2020, 1, 2),
        "path": Path("a/b"),
    }
    record = base_record(dataclasses.replace(studies[0], metadata=metadata), 0, None)
    assert json.loads(record["metadata"]) == {
        "factors": {"side": "left", "subtle": ["a", "b"]},
        "age": 7,
        "mask": [[True, False], [False, True]],
        "day": "2020-01-02",
        "path": "a/b",
    }
    with pytest.raises(InputError, match="study 's0000': metadata cannot be written as JSON"):
        base_record(dataclasses.replace(studies[0], metadata={"x": object()}), 0, None)


def test_previews_are_found_across_row_groups(tmp_path: Path, studies: list[Study]) -> None:
    many = [dataclasses.replace(studies[0], study_id=f"s{number}") for number in range(2 * ROW_GROUP + 3)]
    index = write_run(tmp_path, many)
    for number in (0, ROW_GROUP - 1, ROW_GROUP, 2 * ROW_GROUP + 2):
        assert index.preview_png(number, "frontal") == str(number).encode()
    assert index.preview(0, "lateral") is None
    with pytest.raises(InputError, match="study 500: the index has studies 0"):
        index.preview_png(500, "frontal")
    with pytest.raises(InputError, match="'oblique' is not one of"):
        index.preview_png(0, "oblique")


def test_missing_or_damaged_index_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study index; it is written by `interp cache`"):
        StudyIndex.read(tmp_path)
    (tmp_path / "studies.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(InputError, match="damaged study index"):
        StudyIndex.read(tmp_path)


def test_frame_has_every_column_but_previews_and_masks(index: StudyIndex) -> None:
    small = [name for name in SCHEMA.names if not name.startswith("preview") and name != "masks"]
    assert index.frame.columns.tolist() == small
