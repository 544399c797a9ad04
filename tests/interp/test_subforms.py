from __future__ import annotations

import pandas as pd

from activations.studies_table import StudyIndex
from interp.subforms import MIN_STUDIES, Subforms

N = 3 * MIN_STUDIES


def index(labels: dict[str, list[str]], reports: list[str | None]) -> StudyIndex:
    rows = [{key: values[i] for key, values in labels.items()} for i in range(N)]
    frame = pd.DataFrame(
        {
            "study_id": [f"s{i}" for i in range(N)],
            "patient_id": [f"p{i}" for i in range(N)],
            "labels": rows,
            "reference_report": reports,
        }
    )
    return StudyIndex(frame)


def study_index() -> StudyIndex:
    left = ["present" if i % 2 == 0 else "absent" for i in range(N)]
    rare = ["present" if i < MIN_STUDIES - 1 else "absent" for i in range(N)]
    reports = ["Large right pleural effusion." if i % 3 == 0 else "Small left pleural effusion." for i in range(N)]
    return index({"pleural_effusion:left": left, "pleural_effusion:right": rare, "cardiomegaly": left}, reports)


def test_sides_come_from_the_labels_and_severities_from_the_report() -> None:
    forms = Subforms(study_index()).of("pleural_effusion")
    assert set(forms) == {"side:left", "severity:large", "severity:small"}  # the right side is too rare
    assert forms["side:left"].tolist() == [i % 2 == 0 for i in range(N)]
    assert forms["severity:large"].tolist() == [i % 3 == 0 for i in range(N)]


def test_a_sub_form_has_none_and_neither_has_what_no_report_names() -> None:
    forms = Subforms(study_index())
    assert forms.of("pleural_effusion:left") == {}
    assert forms.of("cardiomegaly") == {}


def test_denied_findings_have_no_form() -> None:
    reports: list[str | None] = ["No large pleural effusion."] * (N - 1) + [None]
    forms = Subforms(index({"pleural_effusion": ["absent"] * N}, reports))
    assert forms.of("pleural_effusion") == {}
