"""``interp compare-reports`` as a user meets it: tables, Parquet, bad rows, a language model, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from interp import cli
from tests.radiology.metrics.chat_server import by_words, serving

REFERENCE = (
    "study_id,patient_id,sequence,report\n"
    "s1,p1,1,Small left pleural effusion. No pneumothorax.\n"
    "s2,p1,2,Small left pleural effusion has resolved. Heart size is normal.\n"
    "s3,p2,1,Cardiomegaly. Pacemaker in place.\n"
    "s4,p2,2,Cardiomegaly is unchanged.\n"
)
CANDIDATE = (
    "study_id,report\n"
    "s1,Small right pleural effusion. No pneumothorax.\n"
    "s2,Small left pleural effusion has resolved. Heart size is normal.\n"
    "s3,Cardiomegaly.\n"
    "s9,Edema.\n"
    "s5,\n"
)
Run = tuple[int, str, str]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "a.csv").write_text(CANDIDATE)
    (tmp_path / "b.csv").write_text(REFERENCE)
    return ["--candidate", str(tmp_path / "a.csv"), "--reference", str(tmp_path / "b.csv"), "--draws", "20"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Run:
    status = cli.run(["compare-reports", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_tables_say_value_interval_and_number(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, *files)
    assert status == 0
    lines = {line.strip().split("  ")[0]: line.split() for line in out.splitlines() if line.strip()}
    assert lines["radfact logical recall"][-1] == "4"
    assert lines["radfact logical precision"][-1] == "3"
    assert "radfact spatial f1" not in lines
    assert {"lunguage f1", "chexpert micro f1", "bleu", "rouge", "length ratio", "repetition candidate"} <= set(lines)
    assert "Pleural Effusion" in out
    assert "encoders hashing-1024" in out


def test_what_is_missing_or_bad_is_named(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, *files, "--metrics", "lunguage,radfact")
    assert "studies without candidate, counted as empty reports: s4" in out
    assert "candidates without reference, left out: s9" in out
    assert "a.csv, row 6, field 'report': is empty" in out
    assert "attributes that differ within matched findings: location 1" in out
    _, out, _ = run(capsys, *files, "--metrics", "lunguage", "--skip-missing")
    assert "studies without candidate, left out: s4" in out


def test_parquet_holds_values_studies_and_phrases(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    status, _, _ = run(capsys, *files, "--out", str(out))
    assert status == 0
    assert sorted(path.name for path in out.iterdir()) == ["phrases.parquet", "studies.parquet", "summary.parquet"]
    summary = pd.read_parquet(out / "summary.parquet").set_index(["metric", "name"])
    assert list(summary.columns) == ["value", "low", "high", "n", "by"]
    assert summary.loc[("radfact", "logical_precision"), "value"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert pd.isna(summary.loc[("radfact", "spatial_f1"), "value"])
    notes = json.loads(pq.read_schema(out / "summary.parquet").metadata[b"interp.report_metrics"])["notes"]
    assert any("s4" in note for note in notes)
    studies = pd.read_parquet(out / "studies.parquet").set_index("study_id")
    assert list(studies.index) == ["s1", "s2", "s3", "s4"]
    assert list(studies["missing"]) == [False, False, False, True]
    assert list(studies.loc["s1", "radfact.added"]) == ["Small right pleural effusion."]
    assert list(studies.loc["s1", "radfact.removed"]) == ["Small left pleural effusion."]
    assert list(studies.loc["s1", "lunguage.moved"]) == ["pleural effusion: location left → right"]
    assert list(studies.loc["s3", "lunguage.only_reference"]) == ["pacemaker"]
    assert studies.loc["s2", "rouge.rouge_l"] == 1
    phrases = pd.read_parquet(out / "phrases.parquet")
    entailed = phrases[(phrases.study_id == "s1") & phrases.entailed]
    assert [list(evidence) for evidence in entailed["evidence"]] == [["No pneumothorax."]] * 2


def test_one_file_may_hold_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "both.json"
    box = {"x_min": 0.1, "y_min": 0.1, "x_max": 0.9, "y_max": 0.9}
    phrase = {"text": "Left effusion.", "boxes": [box]}
    path.write_text(json.dumps([{"example_id": 0, "prediction": [phrase], "target": [phrase]}]))
    status, out, _ = run(capsys, "--candidate", str(path), "--metrics", "radfact", "--draws", "5")
    assert status == 0
    assert "radfact spatial f1" in out


def test_over_time_patients_are_compared(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, *files, "--metrics", "lunguage-sequential")
    assert status == 0
    (line,) = [line for line in out.splitlines() if "lunguage-sequential f1" in line]
    assert line.split()[-1] == "2"


def test_a_language_model_judges_and_is_asked_once(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []
    with serving(by_words) as state:
        llm = ["--judge", "llm", "--base-url", state.url, "--llm", "m", "--metrics", "radfact"]
        for _ in range(2):
            status, out, _ = run(capsys, *files, *llm, "--out", str(tmp_path / "out"))
            assert status == 0
            assert "judge llm m, phrases by llm m" in out
            asked.append(len(state.requests))
    assert asked[0] == asked[1] > 5
    assert len((tmp_path / "out" / "llm-calls.jsonl").read_text().splitlines()) == asked[0]


def test_answers_that_fail_are_counted_in_the_output(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def stubborn(asked: dict[str, Any], purpose: str) -> str:
        return by_words(asked, purpose) if purpose == "phrases" else "I would rather not say."

    with serving(stubborn) as state:
        llm = ["--judge", "llm", "--base-url", state.url, "--llm", "m", "--metrics", "radfact", "--workers", "1"]
        status, out, _ = run(capsys, *files, *llm)
    assert status == 0
    assert "phrases without a usable answer, counted as not entailed: " in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--metrics", "bleu,bertscore"], "'bertscore' does not exist; choose of radfact"),
        (["--metrics", ","], "name at least one"),
        (["--metrics", "radgraph"], "not installed"),
        (["--metrics", "green"], "not installed"),
        (["--judge", "gpt"], "choose findings or llm"),
        (["--judge", "llm"], "give --base-url and --llm"),
        (["--judge", "llm", "--base-url", "https://example.org/v1", "--llm", "m"], "--allow-remote"),
        (["--encoder", "/nowhere"], "no config.json"),
        (["--candidate", "/nowhere.csv"], "no such file"),
        (["--reference", "{tmp}/c.csv"], "no study is in both"),
        (
            ["--reference", "{tmp}/c.csv", "--metrics", "lunguage-sequential", "--candidate", "{tmp}/c.csv"],
            "patient_id",
        ),
    ],
)
def test_what_cannot_be_done_is_one_message_and_status_2(
    files: list[str],
    options: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENAI_BASE_URL", "INTERP_LLM", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "c.csv").write_text("study_id,report\nx1,Edema.\n")
    status, out, err = run(capsys, *files, *(option.replace("{tmp}", str(tmp_path)) for option in options))
    assert (status, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_a_file_of_one_side_wants_the_other(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, *files[:2])
    assert status == 2
    assert "--reference" in err
