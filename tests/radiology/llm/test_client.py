"""The client over a real socket: a fault ends in another try or in one clear message, and nothing is asked twice."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from radiology.errors import InputError
from radiology.llm.budget import Budget, BudgetSpentError
from radiology.llm.client import MOST_FAILURES_IN_A_ROW, TOO_LONG
from tests.radiology.llm.asking import GOOD, Sleeps, Verdict, client_of, question
from tests.radiology.llm.fake_server import Reply, scripted, serving


def errors_of(log: Path) -> list[str | None]:
    return [json.loads(line)["error"] for line in log.read_text().splitlines()]


def test_an_answer_is_an_object_of_the_form_that_was_asked_for() -> None:
    with serving(scripted(GOOD)) as server, client_of(server.url, price_in=1.0, price_out=10.0) as client:
        outcome = client.ask(question())
    assert outcome.value == Verdict(finding="effusion", sure=True)
    assert outcome.cost == pytest.approx(100e-6 + 200e-6)
    asked = server.requests[0]
    assert asked["temperature"] == 0
    form = asked["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["required"] == ["finding", "sure"]
    assert form["schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("fault", "noted"),
    [
        (Reply(status=429, headers={"retry-after": "7"}), "HTTP 429"),
        (Reply(status=500), "HTTP 500"),
        (Reply(status=503), "HTTP 503"),
        (Reply(GOOD, fault="hang"), "APITimeoutError"),
        (Reply(GOOD, fault="close"), "APIConnectionError"),
        (Reply(GOOD, fault="truncate"), "JSONDecodeError"),
    ],
)
def test_a_fault_that_may_pass_is_tried_again(fault: Reply, noted: str, tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    with serving(scripted(fault, GOOD)) as server, client_of(server.url, log, timeout_s=0.5) as client:
        assert client.ask(question()).value is not None
    assert errors_of(log) == [noted, None]


@pytest.mark.parametrize("bad", ["I think so.", '{"finding": "moon", "sure": true}', GOOD[:-4], ""])
def test_an_answer_of_another_form_gets_one_repair(bad: str) -> None:
    with serving(scripted(bad, f"Sorry:\n```json\n{GOOD}\n```")) as server, client_of(server.url) as client:
        assert client.ask(question()).value is not None
    assert server.requests[1]["messages"][-2]["content"] == bad
    with serving(scripted(bad)) as server, client_of(server.url) as client:
        outcome = client.ask(question())
    assert outcome.value is None
    assert outcome.problem
    assert len(server.requests) == len(outcome.calls) == 2


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (Reply(status=401), "refuses the key in OPENAI_API_KEY"),
        (Reply(status=404), "refuses model 'test-model' with HTTP 404"),
        (Reply(status=400), "refuses model 'test-model' with HTTP 400"),
        (Reply(status=307), "HTTP 307"),
        (Reply(status=429, code="insufficient_quota"), "no money left"),
        (Reply(status=429, headers={"retry-after": "7200"}), "wait 7200 s"),
    ],
)
def test_a_refusal_ends_the_job_with_one_message(refusal: Reply, message: str) -> None:
    with (
        serving(scripted(refusal)) as server,
        client_of(server.url) as client,
        pytest.raises(InputError, match=message),
    ):
        client.ask(question())


def test_nobody_listening_is_one_message() -> None:
    with client_of("http://127.0.0.1:9/v1", attempts=2) as client, pytest.raises(InputError, match="does not answer"):
        client.ask(question())


def test_a_server_that_dies_in_the_middle_ends_the_job() -> None:
    with serving(scripted(GOOD, 500)) as server, client_of(server.url, attempts=1, concurrency=1) as client:
        outcomes = []
        with pytest.raises(InputError, match="does not answer"):
            outcomes.extend(client.answers(question(i) for i in range(100)))
    assert len(server.requests) == 1 + MOST_FAILURES_IN_A_ROW


def test_a_prompt_that_is_too_long_fails_alone() -> None:
    too_long = Reply(status=400, code="context_length_exceeded")
    with serving(scripted(too_long, GOOD)) as server, client_of(server.url, concurrency=1) as client:
        first, second = client.answers([question(0), question(1)])
    assert TOO_LONG in first.problem
    assert second.value is not None
    assert "response_format" in server.requests[1]


def test_the_server_decides_how_long_to_wait() -> None:
    sleeps = Sleeps()
    hurry = Reply(status=429, headers={"retry-after": "7"})
    spent = Reply(GOOD, headers={"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s"})
    with serving(scripted(hurry, spent, GOOD)) as server, client_of(server.url, sleep=sleeps, backoff_s=1.0) as client:
        client.ask(question(0))
        client.ask(question(1))
    back_off, first, second = sleeps.seconds
    assert 0.5 <= back_off <= 1.0
    assert 6 < first <= 7
    assert 89 < second <= 90


def test_back_off_doubles_and_is_never_the_same() -> None:
    sleeps = Sleeps()
    with serving(scripted(500)) as server, client_of(server.url, sleep=sleeps, attempts=6, backoff_s=1.0) as client:
        client.ask(question())
    assert all(2**i / 2 <= wait <= 2**i for i, wait in enumerate(sleeps.seconds))
    assert len({wait / 2**i for i, wait in enumerate(sleeps.seconds)}) == 5


def test_not_more_calls_at_once_than_allowed() -> None:
    with serving(lambda body: Reply(GOOD, delay_s=0.02)) as server, client_of(server.url, concurrency=5) as client:
        outcomes = list(client.answers(question(i) for i in range(40)))
    assert server.most_at_once == 5
    assert sorted(outcome.question.key for outcome in outcomes) == list(range(40))  # type: ignore[type-var]


def test_the_same_prompt_is_asked_once_even_at_once() -> None:
    with serving(lambda body: Reply(GOOD, delay_s=0.05)) as server, client_of(server.url, concurrency=4) as client:
        outcomes = list(client.answers(question(0, key=key) for key in range(4)))
    assert len(server.requests) == 1
    assert all(outcome.value is not None for outcome in outcomes)


def test_no_call_is_repeated_by_a_later_job(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    with serving(scripted("nonsense", GOOD)) as server:
        for _ in range(3):
            with client_of(server.url, log) as client:
                assert client.ask(question()).value is not None
    assert len(server.requests) == 2  # the answer and its repair


def test_nothing_is_asked_that_could_exceed_the_budget(tmp_path: Path) -> None:
    """Every answer costs 20 tokens at $1 each, and could cost its limit of 30."""
    prices = {"price_in": 0.0, "price_out": 1e6, "max_tokens": 30, "concurrency": 4}
    log = tmp_path / "calls.jsonl"

    def run(max_cost: float) -> int:
        outcomes = []
        budget = Budget(max_cost=max_cost)
        with client_of(server.url, log, budget, **prices) as client, suppress(BudgetSpentError):  # type: ignore[arg-type]
            outcomes.extend(client.answers(question(i) for i in range(10)))
        return len(outcomes)

    with serving(lambda body: Reply(GOOD, delay_s=0.01)) as server:
        assert run(100) == 4  # a fifth could end at 110
        assert run(100) == 4  # from the record
        assert len(server.requests) == 4
        assert run(211) == 10
        assert len(server.requests) == 10


def test_a_budget_of_tokens_counts_both_ways() -> None:
    with serving(scripted(GOOD)) as server, client_of(server.url, budget=Budget(max_tokens=2200)) as client:
        client.ask(question(0))
        with pytest.raises(BudgetSpentError, match="120 of --max-tokens 2200"):
            client.ask(question(1))


def test_money_cannot_be_limited_without_prices() -> None:
    with pytest.raises(InputError, match="--price-in"):
        client_of("http://127.0.0.1:1/v1", budget=Budget(max_cost=1.0))
    with pytest.raises(InputError, match="max_cost"):
        Budget(max_cost=0.0)


def test_fields_that_a_model_refuses_are_left_out() -> None:
    """As reasoning models do, and servers without structured output."""

    def answer(body: dict) -> Reply | str:
        for field in ("max_tokens", "temperature"):
            if field in body:
                return Reply(status=400, param=field)
        return Reply(status=422) if "response_format" in body else GOOD

    with serving(answer) as server, client_of(server.url) as client:
        assert client.ask(question(0)).value is not None
        assert client.ask(question(1)).value is not None
    assert len(server.requests) == 5
    assert set(server.requests[-1]) == {"model", "messages", "max_completion_tokens"}


def test_a_completion_model_gets_one_text() -> None:
    with serving(scripted(GOOD)) as server, client_of(server.url, api="completion") as client:
        assert client.ask(question(7)).value is not None
    assert server.requests[0]["prompt"] == "Sentence 7: what is found?\n\nAnswer:"
    assert server.requests[0]["json_schema"]["required"] == ["finding", "sure"]


def test_the_key_comes_from_the_environment_and_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    log = tmp_path / "calls.jsonl"
    caplog.set_level("DEBUG", logger="radiology")
    with serving(scripted(500, GOOD, 401)) as server, client_of(server.url, log) as client:
        client.ask(question(0))
        with pytest.raises(InputError) as refused:
            client.ask(question(1))
        shown = [repr(client), repr(client.endpoint), str(refused.value)]
    assert server.seen[0]["authorization"] == "Bearer sk-secret"
    shown += [log.read_text(), caplog.text, *capfd.readouterr()]
    assert not any("sk-secret" in text for text in shown)


def test_prompts_are_not_in_the_record(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    with serving(scripted(500, GOOD)) as server, client_of(server.url, log) as client:
        client.ask(question(3))
    assert "Sentence 3" not in log.read_text()


def test_a_local_server_is_reached_directly_whatever_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    with serving(scripted(GOOD)) as server, client_of(server.url) as client:
        assert client.ask(question()).value is not None


def test_the_query_of_an_address_goes_with_every_call() -> None:
    with serving(scripted(GOOD)) as server, client_of(f"{server.url}?api-version=2026-01-01") as client:
        assert client.ask(question()).value is not None
    assert server.queries == ["api-version=2026-01-01"]
