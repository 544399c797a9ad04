"""What stands behind the scheme of a source: a path, and options behind commas.

``mimic-cxr:/data/mimic-cxr-jpg,split=test,n=500``: the path is all up to the first known option, so it may hold commas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from radiology.errors import InputError

_OPTION = re.compile(r"\s*([a-z_]+)\s*=(.*)", re.DOTALL)


@dataclass(frozen=True)
class PathArguments:
    """A source's folder (or file) and its options, as strings."""

    spec: str
    path: Path
    options: Mapping[str, str]

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """An option that is one of a few words; InputError lists them."""
        value = self.options.get(name, default)
        if value not in allowed:
            raise InputError(f"studies {self.spec!r}: {name}={value} must be one of {', '.join(allowed)}")
        return value

    def number(self, name: str) -> int | None:
        """An option that is a whole number of 1 or more; None if it is not given."""
        value = self.options.get(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and int(value) > 0):
            raise InputError(f"studies {self.spec!r}: {name}={value} must be a whole number, 1 or more")
        return int(value)


def path_and_options(scheme: str, arguments: str, known: Mapping[str, str]) -> PathArguments:
    """Split ``PATH[,name=value…]``.

    Args:
        known: option → what it is for, told where an unknown one is given.

    Raises:
        InputError: no path, an unknown option, one given twice, or the path does not exist.
    """
    spec = f"{scheme}:{arguments}"
    pieces = arguments.split(",")
    first = next((i for i, piece in enumerate(pieces) if _is_option(piece)), len(pieces))
    text = ",".join(pieces[:first]).strip()
    there_are = "; ".join(f"{name}= {meaning}" for name, meaning in known.items()) or "none"
    if not text:
        raise InputError(f"studies {spec!r}: name the folder first, e.g. {scheme}:/data/studies")
    options: dict[str, str] = {}
    for piece in pieces[first:]:
        match = _OPTION.fullmatch(piece)
        if match is None or match[1] not in known:
            raise InputError(f"studies {spec!r}: {piece.strip()!r} is no option of {scheme}; there are: {there_are}")
        if match[1] in options:
            raise InputError(f"studies {spec!r}: {match[1]}= is given twice")
        options[match[1]] = match[2].strip()
    path = Path(text).expanduser()
    if not path.exists():
        raise InputError(f"studies {spec!r}: {path} does not exist")
    return PathArguments(spec, path, options)


def _is_option(piece: str) -> bool:
    match = _OPTION.fullmatch(piece)
    return match is not None and "/" not in match[1]
