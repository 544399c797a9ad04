"""Addresses, prices, and what may leave this machine."""

from __future__ import annotations

import pytest

from radiology.errors import InputError
from radiology.llm.client import arguments
from radiology.llm.endpoint import Endpoint, require_terms

LOCAL = ["http://localhost:8080/v1", "http://127.0.0.1/v1", "http://127.8.0.1/v1", "http://[::1]:80/v1"]
REMOTE = [
    "http://127.0.0.1.example.org/v1",
    "http://localhost.example.org/v1",
    "http://10.0.0.3/v1",
    "http://0.0.0.0/v1",
    "https://llm.example.org/v1",
]


@pytest.mark.parametrize(("url", "local"), [(u, True) for u in LOCAL] + [(u, False) for u in REMOTE])
def test_what_counts_as_this_machine(url: str, local: bool) -> None:
    assert Endpoint(url, "m").is_local is local


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "llm.example.org", "ftp://x/v1", "http://user:word@host/v1"])
def test_bad_addresses_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="base_url"):
        Endpoint(url, "m")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"model": " "}, "model"),
        ({"attempts": 0}, "attempts"),
        ({"concurrency": 0}, "concurrency"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"api": "telepathy"}, "api"),
        ({"price_in": 1.0}, "price_out"),
        ({"price_in": -1.0, "price_out": 1.0}, "price"),
    ],
)
def test_what_cannot_be_is_named(options: dict, field: str) -> None:
    with pytest.raises(InputError, match=field):
        Endpoint("http://127.0.0.1/v1", **({"model": "m"} | options))


def test_it_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("INTERP_LLM", raising=False)
    with pytest.raises(InputError, match="--base-url"):
        Endpoint.from_environment()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("INTERP_LLM", "small")
    assert Endpoint.from_environment().model == "small"
    assert Endpoint.from_environment(model="other", concurrency=3) == Endpoint(
        "http://127.0.0.1:1/v1", "other", concurrency=3
    )


def test_a_remote_server_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        Endpoint(REMOTE[0], "m").key()
    Endpoint(LOCAL[0], "m").key()


def test_terms_that_bind_need_a_word() -> None:
    far, near = Endpoint(REMOTE[-1], "m"), Endpoint(LOCAL[0], "m")
    require_terms(far, ["open", "phantom"], allow_remote=False)
    for terms in (["credentialed"], ["own", "phantom"], ["something new"]):
        with pytest.raises(InputError, match=f"{terms[0]}.*--allow-remote"):
            require_terms(far, terms, allow_remote=False)
        require_terms(far, terms, allow_remote=True)
        require_terms(near, terms, allow_remote=False)


def test_azure_gets_its_version_and_its_header() -> None:
    azure = Endpoint("https://hospital.openai.azure.com/openai/v1?api-version=preview", "m")
    found = arguments(azure, "key")
    assert found["base_url"] == "https://hospital.openai.azure.com/openai/v1"
    assert found["default_query"] == {"api-version": "preview"}
    assert found["default_headers"] == {"api-key": "key"}
    assert "default_headers" not in arguments(Endpoint("https://azure.com.example.org/v1", "m"), "key")
