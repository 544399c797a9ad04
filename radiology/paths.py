"""How the path of a file is written in a message."""

from __future__ import annotations

from pathlib import Path


def shown(path: str | Path) -> str:
    """A path for the eyes of a person: line breaks, control characters and bytes that are no UTF-8 are escaped.

    A file may have any name; a message goes to terminals, logs and UTF-8 files.
    """
    text = str(path).encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
