"""The record of calls."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from radiology.errors import InputError
from radiology.llm.calls import Call, CallLog, prompt_hash


def call(key: str, answer: str | None = "yes", **more: object) -> Call:
    return Call(key, "m", "p", answer, None if answer else "HTTP 500", **more)  # type: ignore[arg-type]


def test_a_torn_line_is_passed_over_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "calls.jsonl"
    CallLog(path).append(call("h1", "one"))
    with path.open("a") as file:
        file.write('{"prompt_hash": "h2", "mod')
    again = CallLog(path)
    assert again.answered("h2") is None
    again.append(call("h3", "three"))
    third = CallLog(path)
    assert [third.answered(h).answer for h in ("h1", "h3")] == ["one", "three"]  # type: ignore[union-attr]
    path.write_text('{"wrong": 1}\n' + path.read_text())
    with pytest.raises(InputError, match="line 1"):
        CallLog(path)


def test_lines_of_earlier_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    old = {"prompt_hash": "h", "model": "m", "purpose": "p", "answer": "yes", "error": None}
    old |= {"prompt_tokens": 5, "completion_tokens": 2, "time": 1.0}
    path.write_text(json.dumps(old) + "\n")
    log = CallLog(path)
    assert log.answered("h") == Call(**old)  # type: ignore[arg-type]
    assert log.spent_tokens == 7


def test_what_was_spent_is_what_the_lines_say(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    log = CallLog(path)
    log.append(call("a", None))
    log.append(call("b", prompt_tokens=10, completion_tokens=5, cost=0.25))
    log.append(call("c", cost=0.5))
    for one in (log, CallLog(path)):
        assert (one.spent_cost, one.spent_tokens) == (0.75, 15)
        assert one.answered("a") is None


def test_threads_may_share_it(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    log = CallLog(path)
    work = [threading.Thread(target=lambda n=n: [log.append(call(f"{n}-{i}")) for i in range(50)]) for n in range(4)]  # type: ignore[misc]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len({json.loads(line)["prompt_hash"] for line in path.read_text().splitlines()}) == 200


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "calls.jsonl").mkdir()
    log = CallLog(tmp_path / "calls.jsonl")
    with pytest.raises(OSError, match=r"cannot write .*calls\.jsonl"):
        log.append(call("a"))


def test_a_hash_changes_with_everything_that_is_sent() -> None:
    messages = [{"role": "user", "content": "x"}]
    others = [
        prompt_hash("n", messages, {}),
        prompt_hash("m", [{"role": "user", "content": "y"}], {}),
        prompt_hash("m", messages, {"type": "object"}),
    ]
    assert prompt_hash("m", messages, {}) not in others
    assert prompt_hash("m", messages, {}) == prompt_hash("m", messages, {})
