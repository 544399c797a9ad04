"""The Batch API against a server that speaks its endpoints: sent once, collected later, repaired in a second round."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from radiology.errors import InputError
from radiology.llm.batch import BatchClient
from radiology.llm.budget import Budget, BudgetSpentError
from radiology.llm.calls import CallLog, prompt_hash
from radiology.llm.endpoint import Endpoint
from tests.radiology.llm.asking import GOOD, question
from tests.radiology.llm.fake_server import FakeLLM, Reply, scripted, serving


class StoppedError(Exception):
    """A job that is stopped while it waits."""


def never(seconds: float) -> None:
    raise StoppedError


def batch_client(server: FakeLLM, folder: Path, budget: Budget | None = None, **options: object) -> BatchClient:
    endpoint = Endpoint(server.url, "m", **{k: v for k, v in options.items() if k != "sleep"})  # type: ignore[arg-type]
    sleep = options.get("sleep", lambda seconds: None)
    return BatchClient(endpoint, CallLog(folder / "llm-calls.jsonl"), budget=budget, sleep=sleep)  # type: ignore[arg-type]


def test_all_questions_go_up_in_one_file_and_cost_half(tmp_path: Path) -> None:
    with serving(scripted(GOOD)) as server:
        server.polls = 3
        with batch_client(server, tmp_path, price_in=1.0, price_out=10.0) as client:
            outcomes = list(client.answers([question(i) for i in range(5)]))
    assert [outcome.question.key for outcome in outcomes] == list(range(5))
    assert all(outcome.value is not None for outcome in outcomes)
    assert outcomes[0].cost == pytest.approx((100e-6 + 200e-6) / 2)
    assert len(server.batches) == 1
    assert len(server.requests) == 5
    first = json.loads(server.files["file-0"].splitlines()[0])
    assert first["url"] == "/v1/chat/completions"
    assert first["custom_id"] == prompt_hash("m", question(0).messages, question(0).form)


def test_a_stopped_job_collects_what_it_sent(tmp_path: Path) -> None:
    with serving(scripted(GOOD)) as server:
        server.polls = 2
        with pytest.raises(StoppedError), batch_client(server, tmp_path, sleep=never) as client:
            list(client.answers([question(i) for i in range(3)]))
        with batch_client(server, tmp_path) as client:
            assert len(list(client.answers([question(i) for i in range(3)]))) == 3
        with batch_client(server, tmp_path) as client:  # and from the record
            assert len(list(client.answers([question(i) for i in range(3)]))) == 3
    assert len(server.batches) == 1
    assert len(server.requests) == 3


def test_a_batch_that_was_sent_but_not_noted_is_found_again(tmp_path: Path) -> None:
    """As after a kill between the server's yes and our note of it."""
    with serving(scripted(GOOD)) as server:
        server.polls = 2
        with pytest.raises(StoppedError), batch_client(server, tmp_path, sleep=never) as client:
            list(client.answers([question(0)]))
        (tmp_path / "llm-batches.jsonl").unlink()
        with batch_client(server, tmp_path) as client:
            assert next(iter(client.answers([question(0)]))).value is not None
    assert len(server.batches) == 1


def test_bad_answers_are_repaired_in_a_second_batch(tmp_path: Path) -> None:
    def answer(body: dict) -> str:
        return GOOD if len(body["messages"]) > 1 or "Sentence 0" in body["messages"][0]["content"] else "no idea"

    with serving(answer) as server, batch_client(server, tmp_path) as client:
        outcomes = list(client.answers([question(i) for i in range(3)]))
    assert all(outcome.value is not None for outcome in outcomes)
    assert sorted(len(outcome.calls) for outcome in outcomes) == [1, 2, 2]
    assert [len(server.files[batch["input_file_id"]].splitlines()) for batch in server.batches.values()] == [3, 2]


def test_faults_within_a_batch_are_told_and_asked_again_later(tmp_path: Path) -> None:
    with serving(scripted(Reply(status=500), GOOD)) as server:
        with batch_client(server, tmp_path) as client:
            first, second = client.answers([question(0), question(1)])
        assert first.problem == "the call failed: HTTP 500"
        assert second.value is not None
        with batch_client(server, tmp_path) as client:
            assert all(outcome.value is not None for outcome in client.answers([question(0), question(1)]))
    assert len(server.requests) == 3


def test_what_does_not_fit_the_budget_is_not_sent(tmp_path: Path) -> None:
    prices = {"price_in": 0.0, "price_out": 1e6, "max_tokens": 20}
    with serving(scripted(GOOD)) as server, batch_client(server, tmp_path, Budget(max_cost=25), **prices) as client:
        outcomes = []
        with pytest.raises(BudgetSpentError, match="3 prompts"):
            outcomes.extend(client.answers([question(i) for i in range(5)]))
    assert len(outcomes) == len(server.requests) == 2


def test_a_server_without_batches_and_one_that_is_down_are_one_message(tmp_path: Path) -> None:
    with serving(scripted(GOOD)) as server:
        elsewhere = FakeLLM(scripted(GOOD), url=server.url.removesuffix("/v1") + "/v2")
        with pytest.raises(InputError, match=r"HTTP 404.*batches"), batch_client(elsewhere, tmp_path) as client:
            list(client.answers([question(0)]))


def test_bound_texts_and_completion_models_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    far = FakeLLM(scripted(GOOD), url="https://llm.example.org/v1")
    with pytest.raises(InputError, match="--allow-remote"), batch_client(far, tmp_path) as client:
        list(client.answers([question(0, terms=["credentialed"])]))
    with pytest.raises(InputError, match="chat"):
        batch_client(far, tmp_path, api="completion")
    with pytest.raises(InputError, match="record"):
        BatchClient(Endpoint("http://127.0.0.1:1/v1", "m"), CallLog())
