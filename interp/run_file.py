"""``run.json``: what was asked of a run directory, with which versions, and how far every stage is.

{"kind": "interp-run", "version": 1, "created": ISO time, "user": name or null, "command": [argv of the creator],
 "versions": {package: version}, "stages": {name: Stage}}
"""

from __future__ import annotations

import getpass
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from interp.files import write_text
from radiology.errors import InputError

KIND = "interp-run"
VERSION = 1
NAME = "run.json"
STATES = ("pending", "running", "done", "failed")
_REPORTED_PACKAGES = ("interp", "torch", "transformers", "numpy", "h5py", "pyarrow", "duckdb")


@dataclass
class Stage:
    """State of one stage.

    ``outputs`` and ``also`` are paths relative to the run; ``config_hash`` covers the stages before it too.
    """

    state: str = "pending"
    config: dict[str, Any] = field(default_factory=dict)
    config_hash: str = ""
    outputs: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass
class RunFile:
    """The content of ``run.json``."""

    created: str
    user: str | None
    command: list[str]
    versions: dict[str, str]
    stages: dict[str, Stage] = field(default_factory=dict)

    @staticmethod
    def new(command: list[str]) -> RunFile:
        return RunFile(now(), _user(), command, versions())

    def write(self, directory: Path) -> None:
        """Replace ``run.json`` in one step: a reader sees the old one or the new one, never half."""
        content = {"kind": KIND, "version": VERSION, **asdict(self)}
        write_text(directory / NAME, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @staticmethod
    def read(directory: Path) -> RunFile:
        """Read and check.

        Raises:
            InputError: not a run of this toolkit, written by a newer one, or damaged.
        """
        path = directory / NAME
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(
                f"{path} is damaged (not JSON: {error}). Move the directory away or choose another --run."
            ) from None
        if not isinstance(content, Mapping) or content.get("kind") != KIND:
            raise InputError(f"{path} was not written by interp (its 'kind' is not {KIND!r}). Choose another --run.")
        version = content.get("version")
        if isinstance(version, int) and version > VERSION:
            raise InputError(
                f"{path} has format version {version}; this interp reads up to {VERSION}. "
                "Upgrade interp or choose another --run."
            )
        if version != VERSION:
            raise InputError(f"{path}: field 'version' is {version!r}, not {VERSION}. Choose another --run.")
        try:
            stages = {name: _stage(name, record) for name, record in content["stages"].items()}
            return RunFile(
                str(content["created"]),
                content["user"],
                list(content["command"]),
                dict(content["versions"]),
                stages,
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"{path} is damaged ({error!r}). Move the directory away or choose another --run."
            ) from None


def _stage(name: str, record: Mapping[str, Any]) -> Stage:
    known = {f.name for f in fields(Stage)}
    stage = Stage(**{key: value for key, value in record.items() if key in known})
    if stage.state not in STATES:
        raise ValueError(f"stage {name}: unknown state {stage.state!r}")
    return stage


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    found = {"python": platform.python_version()}
    for package in _REPORTED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id without a name
        return None
