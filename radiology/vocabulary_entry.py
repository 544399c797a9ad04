"""What a row of the vocabulary holds."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["disease", "device", "overall"]


class Entry(NamedTuple):
    """A row of the vocabulary; ``synonyms`` is one comma-separated line."""

    key: str
    name: str
    synonyms: str = ""
    kind: Kind = "disease"
    sided: bool = False
    broader: str | None = None


def device(key: str, name: str, synonyms: str, sided: bool = False) -> Entry:
    """A row for a device."""
    return Entry(key, name, synonyms, "device", sided, "support_devices")
