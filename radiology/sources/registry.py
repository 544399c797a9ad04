"""The one place where a scheme finds its reader."""

from __future__ import annotations

from importlib import import_module

from radiology.errors import InputError
from radiology.sources.base import StudySource

#: Scheme → module with ``open_source(arguments, *, strict) -> StudySource``; imported when asked for.
READERS: dict[str, str] = {
    "folder": "radiology.sources.folder",
    "lunguage": "radiology.sources.lunguage.source",
    "mimic-cxr": "radiology.sources.mimic_cxr.source",
    "openi": "radiology.sources.openi.source",
    "padchest-gr": "radiology.sources.padchest_gr.source",
    "phantom": "radiology.sources.phantom",
}


def open_studies(spec: str, *, strict: bool = False) -> StudySource:
    """Open ``SCHEME:ARGUMENTS``, e.g. ``folder:scans`` or ``phantom:n=2000,seed=0``.

    The source can be iterated as often as one likes and reads one study at a time. What cannot be read is left out and
    listed in ``skipped``; with ``strict`` the first such thing raises InputError instead.

    Raises InputError if the scheme is unknown or its arguments are wrong.
    """
    scheme, colon, arguments = spec.partition(":")
    if not colon or scheme not in READERS:
        known = ", ".join(f"{name}:…" for name in sorted(READERS))
        hint = f"; for a folder of images write folder:{spec}" if not colon else ""
        raise InputError(f"studies {spec!r}: {scheme!r} is not a known scheme; there are {known}{hint}")
    if not arguments:
        raise InputError(
            f"studies {spec!r}: nothing after '{scheme}:'; write e.g. folder:scans or phantom:n=100,seed=0"
        )
    source: StudySource = import_module(READERS[scheme]).open_source(arguments, strict=strict)
    return source
