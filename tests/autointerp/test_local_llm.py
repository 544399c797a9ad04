"""A real language model, the smallest there is, through the whole way: server, prompt, answer, label, score.

What it answers is not tested: 135 million parameters in 4 bits name no features. That it can be asked, and that what it
answers has the form of a label, is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autointerp.explain import explain_features
from autointerp.explainers.llm import Asker, LLMExplainer, terms_of_run
from autointerp.explainers.llm_prompt import PromptForm
from autointerp.files import labels_folder, read_frame
from autointerp.schema import EXPLANATIONS_FILE, FAILED_LABEL, LLM_CALLS_FILE, SCORES_FILE
from autointerp.score import score_features
from autointerp.scorers.detection import DetectionScorer
from autointerp.scorers.llm_judge import LLMJudge
from interp.stages.language_model import Asking
from radiology.errors import InputError
from radiology.llm.local import MODEL, local_endpoint
from tests.autointerp.conftest import EFFUSION, NO_EFFUSION

ASKING = Asking(local=True, answer_tokens=120)


@pytest.fixture(scope="module")
def run(hand_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("local") / "run"
    shutil.copytree(hand_run.run_dir / "sae", path / "sae", ignore=shutil.ignore_patterns("labels"))
    shutil.copy(hand_run.run_dir / "studies.parquet", path)
    return path


@pytest.fixture(scope="module")
def model(run: Path) -> Iterator[Asker]:
    calls = labels_folder(run, "main") / LLM_CALLS_FILE
    with ASKING.asker(None, None, False, calls) as asker:
        yield asker


def test_from_contexts_to_scores(run: Path, model: Asker) -> None:
    assert model.endpoint.is_local
    explainer = LLMExplainer(model, terms_of_run(run), PromptForm(model.endpoint.api, 3).messages)
    labels = explain_features(run, "main", explainer, [NO_EFFUSION, EFFUSION])
    assert (labels["label"] != FAILED_LABEL).sum() >= 1
    assert set(labels["model"]) == {MODEL}
    assert (labels["prompt_tokens"] > 100).all()
    judge = LLMJudge(model, terms_of_run(run), per_question=4)
    scores = score_features(run, "main", DetectionScorer(judge), explainer="llm", features=[NO_EFFUSION])
    assert set(scores["scorer"]) == {"detection:llm"}
    assert {"hard_negative", "random_negative"} <= set(scores["negative_kind"])
    calls = [json.loads(line) for line in (labels_folder(run, "main") / LLM_CALLS_FILE).read_text().splitlines()]
    assert all(call["answer"].lstrip().startswith("{") for call in calls)  # the form was enforced, not hoped for
    n = len(calls)
    explain_features(run, "main", explainer, [NO_EFFUSION, EFFUSION])
    assert len((labels_folder(run, "main") / LLM_CALLS_FILE).read_text().splitlines()) == n
    assert read_frame(labels_folder(run, "main") / EXPLANATIONS_FILE)["explainer"].eq("llm").all()
    assert (labels_folder(run, "main") / SCORES_FILE).is_file()


def test_the_server_ends_with_its_block() -> None:
    with local_endpoint() as endpoint:
        port = int(endpoint.base_url.split(":")[2].split("/")[0])
    code = f"import socket; raise SystemExit(socket.socket().connect_ex(('127.0.0.1', {port})) == 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_contradicts_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="--local"), ASKING.asker("http://127.0.0.1:1/v1", None, False, tmp_path / "c"):
        pass
    with pytest.raises(InputError, match="--batch"):
        Asking(local=True, batch=True)
    monkeypatch.setattr("radiology.llm.local.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install"), ASKING.asker(None, None, False, tmp_path / "c"):
        pass
