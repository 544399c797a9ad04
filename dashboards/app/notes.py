"""Notes and tags that people give to features and studies: ``RUN/sae/NAME/notes.json``, the one file written here.

{"version": 1, "features": {"12": {"note": "…", "tags": ["to check"]}}, "studies": {"ID": {…}}}

A tag is also a list: all that carry it.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dashboards.fingerprint import NOTES_FILE
from radiology.errors import InputError

VERSION = 1
MAX_NOTE, MAX_TAG, MAX_TAGS = 20_000, 60, 50
KINDS = ("features", "studies")


class Notes:
    """The notes of one SAE of a run; safe to use from several threads.

    Args:
        folder: ``RUN/sae/NAME``.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NOTES_FILE
        self._lock = threading.Lock()

    def of(self, kind: str, name: str) -> dict[str, Any]:
        """``note`` and ``tags`` of a feature or study; empty if there are none."""
        found = self._read().get(kind, {}).get(str(name), {})
        return {"note": str(found.get("note", "")), "tags": [str(tag) for tag in found.get("tags", [])]}

    def names(self, kind: str = "features") -> list[str]:
        """All that have a note or a tag."""
        return list(self._read().get(kind, {}))

    def tags(self, kind: str = "features") -> dict[str, list[str]]:
        """Tag → names that carry it."""
        found: dict[str, list[str]] = {}
        for name, entry in self._read().get(kind, {}).items():
            for tag in entry.get("tags", []):
                found.setdefault(str(tag), []).append(name)
        return dict(sorted(found.items()))

    def put(self, kind: str, name: str, note: str, tags: Sequence[str]) -> None:
        """Write note and tags of one; both empty removes the entry.

        Raises:
            InputError: too long, or the file cannot be written (a run that may only be read).
        """
        note, clean = note.strip(), _clean(tags)
        if kind not in KINDS:
            raise InputError(f"kind: {kind!r} is not one of {list(KINDS)}")
        if len(note) > MAX_NOTE:
            raise InputError(f"note: at most {MAX_NOTE} characters, not {len(note)}")
        with self._lock:
            content = self._read()
            entries = content.setdefault(kind, {})
            if note or clean:
                entries[str(name)] = {"note": note, "tags": clean}
            else:
                entries.pop(str(name), None)
            self._write({"version": VERSION, **content})

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self._path} is damaged ({type(error).__name__}); mend it or move it away, it holds notes and tags"
            ) from error
        whole = isinstance(content, dict) and all(_is_entries(content.get(kind, {})) for kind in KINDS)
        if not whole:
            raise InputError(f"{self._path} is damaged (not notes); mend it or move it away")
        return content

    def _write(self, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        try:
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".notes-", suffix=".tmp")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(self._path)
        except OSError as error:
            raise InputError(f"{self._path} cannot be written ({error.strerror}); notes were not kept") from error


def _clean(tags: Sequence[str]) -> list[str]:
    clean = list(dict.fromkeys(" ".join(tag.split()) for tag in tags if tag.strip()))
    if len(clean) > MAX_TAGS or any(len(tag) > MAX_TAG for tag in clean):
        raise InputError(f"tags: at most {MAX_TAGS} of at most {MAX_TAG} characters each")
    return clean


def _is_entries(entries: Any) -> bool:
    if not isinstance(entries, dict):
        return False
    return all(isinstance(one, dict) and isinstance(one.get("tags", []), list) for one in entries.values())
