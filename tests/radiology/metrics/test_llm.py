"""RadFact's language model over a real socket: answers, faults, repair, the record, and what may leave the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from radiology.errors import InputError
from radiology.llm.calls import CallLog
from radiology.llm.client import LLMClient
from radiology.llm.endpoint import Endpoint
from radiology.metrics.entailment import Verdict
from radiology.metrics.entailment_llm import LLMEntailment, LLMPhrases
from radiology.metrics.phrases import GroundedPhrase
from radiology.metrics.radfact import judge_study
from tests.radiology.metrics.chat_server import Answer, ChatServerState, by_words, serving

PREMISES = ["Small left pleural effusion.", "No pneumothorax."]


async def at_once(seconds: float) -> None:
    """In place of waiting."""


def client_of(state: ChatServerState, record: Path | None = None, **options: Any) -> LLMClient:
    return LLMClient(Endpoint(state.url, "test-model", **options), CallLog(record), sleep=at_once)


def scripted(*replies: int | str) -> Answer:
    """The replies in turn, the last one for ever."""
    left = list(replies)
    return lambda asked, purpose: left.pop(0) if len(left) > 1 else left[0]


def test_a_statement_is_judged_with_its_evidence() -> None:
    with serving(by_words) as state:
        judge = LLMEntailment(client_of(state))
        assert judge.judge("no pneumothorax.", PREMISES) == Verdict(True, (1,))
        assert judge.judge("Right effusion.", PREMISES) == Verdict(False)
        assert judge.name == "llm test-model"
    schema = state.requests[0]["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert set(schema["schema"]["required"]) == {"entailed", "evidence"}
    assert state.requests[0]["temperature"] == 0


def test_without_premises_nobody_is_asked() -> None:
    with serving(by_words) as state:
        assert not LLMEntailment(client_of(state)).judge("Effusion.", []).entailed
        assert LLMPhrases(client_of(state)).split("  ") == []
    assert state.requests == []


def test_a_report_is_cut_into_phrases() -> None:
    with serving(by_words) as state:
        assert LLMPhrases(client_of(state)).split("Left effusion. No edema.") == ["Left effusion.", "No edema."]


@pytest.mark.parametrize(
    "bad",
    [
        "I think so.",
        '{"entailed": "yes", "evidence": []}',
        '{"entailed": true, "evidence": []}',
        '{"entailed": true, "evidence": ["an effusion, I suppose"]}',
        '{"evidence": []}',
    ],
)
def test_a_bad_answer_is_repaired_once(bad: str) -> None:
    good = json.dumps({"entailed": True, "evidence": ["small left pleural effusion"]})
    with serving(scripted(bad, good)) as state:
        assert LLMEntailment(client_of(state)).judge("Left effusion.", PREMISES) == Verdict(True, (0,))
    assert len(state.requests) == 2
    assert state.requests[1]["messages"][-2]["content"] == bad


def test_two_bad_answers_are_a_failure_that_counts() -> None:
    with serving(scripted("no idea")) as state:
        client = client_of(state)
        assert LLMEntailment(client).judge("Left effusion.", PREMISES) == Verdict(False, failed=True)
        phrases = LLMPhrases(client)
        assert phrases.split("Left effusion.") is None
        assert phrases.failures == 1
        study = judge_study("s", [GroundedPhrase("Left effusion.")], [GroundedPhrase("Edema.")], LLMEntailment(client))
        assert study.failures == 2


def test_words_around_the_json_do_no_harm() -> None:
    answer = 'Sure:\n```json\n{"entailed": false, "evidence": []}\n```'
    with serving(scripted(answer)) as state:
        assert LLMEntailment(client_of(state)).judge("Edema.", PREMISES) == Verdict(False)


def test_an_answer_without_end_is_cut_and_costs_two_calls(tmp_path: Path) -> None:
    """As small models give them: the form asked for, filled with the same sentence for ever."""
    endless = '{"entailed": true, "evidence": [' + '"the lungs are clear.", ' * 2000
    record = tmp_path / "calls.jsonl"
    with serving(scripted(endless)) as state:
        for _ in range(2):  # the second time from the record
            assert LLMEntailment(client_of(state, record, max_tokens=500)).judge("Edema.", PREMISES).failed
    assert [request["max_tokens"] for request in state.requests] == [500, 500]
    assert sum(len(message["content"]) for message in state.requests[1]["messages"][2:]) < 3000
    assert [json.loads(line)["error"] for line in record.read_text().splitlines()] == ["cut at 500 tokens"] * 2
    with serving(by_words) as state:  # with more room it is asked again
        assert not LLMEntailment(client_of(state, record, max_tokens=5000)).judge("Edema.", PREMISES).failed
        assert len(state.requests) == 1


def test_faults_of_the_server_are_tried_again() -> None:
    good = json.dumps({"entailed": False, "evidence": []})
    with serving(scripted(500, 429, good)) as state:
        assert LLMEntailment(client_of(state)).judge("Edema.", PREMISES) == Verdict(False)
    assert len(state.requests) == 3


def test_a_server_that_stays_broken_is_a_failure_and_asked_again_later(tmp_path: Path) -> None:
    record = tmp_path / "calls.jsonl"
    with serving(scripted(503)) as state:
        assert LLMEntailment(client_of(state, record, attempts=2)).judge("Edema.", PREMISES).failed
        assert len(state.requests) == 2
    with serving(by_words) as state:
        assert not LLMEntailment(client_of(state, record)).judge("Edema.", PREMISES).failed
        assert len(state.requests) == 1


def test_a_server_without_structured_output_is_asked_without() -> None:
    def answer(asked: dict[str, Any], purpose: str) -> int | str:
        return 400 if "response_format" in state.requests[-1] else by_words(asked, purpose)

    with serving(answer) as state:
        judge = LLMEntailment(client_of(state))
        assert judge.judge("No pneumothorax.", PREMISES).entailed
        assert not judge.judge("Edema.", PREMISES).entailed
    assert ["response_format" in request for request in state.requests] == [True, False, False]


def test_a_refusal_ends_the_job_with_a_message() -> None:
    with serving(scripted(401)) as state, pytest.raises(InputError, match="401"):
        LLMEntailment(client_of(state)).judge("Edema.", PREMISES)


def test_no_answer_is_asked_for_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret-key")
    record = tmp_path / "calls.jsonl"
    with serving(by_words) as state:
        for _ in range(2):
            client = client_of(state, record)
            assert LLMEntailment(client).judge("No pneumothorax.", PREMISES).entailed
            assert LLMPhrases(client).split("Left effusion.") == ["Left effusion."]
        assert len(state.requests) == 2
        LLMEntailment(client).judge("No pneumothorax.", PREMISES[::-1])
        assert len(state.requests) == 3
    assert "a-secret-key" not in record.read_text()
    assert [json.loads(line)["purpose"] for line in record.read_text().splitlines()] == [
        "entailment",
        "phrases",
        "entailment",
    ]


def test_a_record_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    record = tmp_path / "calls.jsonl"
    with serving(by_words) as state:
        LLMEntailment(client_of(state, record)).judge("No pneumothorax.", PREMISES)
        record.write_text(record.read_text() + '{"prompt_hash": "ab')
        LLMEntailment(client_of(state, record)).judge("No pneumothorax.", PREMISES)
        LLMEntailment(client_of(state, record)).judge("Edema.", PREMISES)
        LLMEntailment(client_of(state, record)).judge("Edema.", PREMISES)
    assert len(state.requests) == 2
    record.write_text('{"prompt_hash": 1}\n')
    with pytest.raises(InputError, match="line 1"):
        CallLog(record)


def test_reports_of_patients_stay_on_this_machine_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # so that what is let through ends on this machine
    server = Endpoint("https://llm.example.org/v1", "m", attempts=1)
    for terms in ("credentialed", "own"):
        with pytest.raises(InputError, match="--allow-remote"):
            LLMEntailment(LLMClient(server), terms).judge("Edema.", PREMISES)
    for terms, allowed in (("phantom", False), ("credentialed", True)):
        with pytest.raises(InputError, match="does not answer"):
            LLMEntailment(LLMClient(server, allow_remote=allowed), terms).judge("Edema.", PREMISES)


def test_a_local_server_is_reached_directly_whatever_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with serving(by_words) as state:
        assert LLMEntailment(client_of(state)).judge("No pneumothorax.", PREMISES).entailed
