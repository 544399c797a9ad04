"""What stands between a user and a model on the hub is said with what to do."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from activations.models.hub import hub_file, hub_folder
from radiology.errors import InputError


def refusal(kind: type[errors.HfHubHTTPError], status: int) -> errors.HfHubHTTPError:
    http = importlib.import_module(errors.Response.__module__.partition(".")[0])
    request = http.Request("GET", "https://huggingface.co/api/models/a/b")
    return kind("Refused.", response=http.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (refusal(errors.GatedRepoError, 403), r"licence .* https://huggingface\.co/a/b.*hf auth login.*folder"),
        (refusal(errors.RepositoryNotFoundError, 401), "not on the Hugging Face hub, or private"),
        (refusal(errors.HfHubHTTPError, 401), "hf auth login"),
        (refusal(errors.HfHubHTTPError, 503), "the hub refused"),
        (refusal(errors.RemoteEntryNotFoundError, 404), "a file is missing on the hub"),
        (errors.LocalEntryNotFoundError("no connection"), "the hub cannot be reached.*folder of a copy"),
        (errors.HFValidationError("bad"), "names look like microsoft/maira-2"),
        (OSError(28, "No space left on device"), "could not be fetched.*No space left"),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    for ask in (lambda: hub_folder("a/b", ["*.json"]), lambda: hub_file("a/b", "config.json")):
        with pytest.raises(InputError, match=message) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_only_what_is_needed_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, allow_patterns: asked.append(allow_patterns) or str(tmp_path)
    )
    assert hub_folder("a/b", ("*.json", "*.py")) == tmp_path
    assert asked == [["*.json", "*.py"]]


def test_offline_says_so(tmp_path: Path) -> None:
    code = "from activations.models.hub import hub_folder\nhub_folder('microsoft/maira-2', ['*.json'])"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "InputError: model 'microsoft/maira-2': not in the local cache, and HF_HUB_OFFLINE" in last
    assert "folder of a copy" in last
