"""A job that is killed at a random moment goes on without repeating a call that was answered."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.radiology.llm.asking import GOOD
from tests.radiology.llm.fake_server import FakeLLM, Reply, serving

ROOT = Path(__file__).parents[3]


def start(server: FakeLLM, log: Path, n: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.radiology.llm.job", server.url, str(log), str(n)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)


def answered(log: Path) -> set[str]:
    """Hashes of the prompts whose answers stand whole in the record."""
    found = set()
    for line in log.read_bytes().splitlines(keepends=True) if log.exists() else []:
        if line.endswith(b"\n"):
            call = json.loads(line)
            found |= {call["purpose"]} if call["answer"] is not None else set()
    return found


def asked(server: FakeLLM) -> Counter:
    return Counter("question " + body["messages"][0]["content"].split()[1].rstrip(":") for body in server.requests)


@pytest.mark.parametrize(("n", "kills"), [(120, 1), pytest.param(10_000, 3, marks=pytest.mark.long)])
def test_a_killed_job_repeats_no_call(n: int, kills: int, tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    with serving(lambda body: Reply(GOOD, delay_s=0.02)) as server:
        for kill in range(1, kills + 1):
            job = start(server, log, n)
            moment = random.Random(f"{n} {kill} {time.time()}").uniform(0.1, 0.9) * n * kill / (kills + 1)
            while len(server.requests) < moment:
                assert job.poll() is None
                time.sleep(0.002)
            job.kill()
            job.communicate()
            done, before = answered(log), asked(server)
            # Those on their way at the kill are lost, at most one a place; all others were asked once.
            assert sum(before.values()) - len(done) <= 16 * kill
        last = start(server, log, n)
        assert int(last.communicate()[0]) == n
        after = asked(server)
    assert len(after) == n
    assert all(after[purpose] == before[purpose] for purpose in done)
    assert sum(after.values()) <= n + 16 * kills
    assert len(answered(log)) == n
