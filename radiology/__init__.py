"""What goes into a report model and how a report is read: studies, images, findings, comparison of reports."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Not lazy as the others: the module of the same name would take its place as soon as anybody imports that.
from radiology.compare import compare

if TYPE_CHECKING:
    from radiology.errors import InputError
    from radiology.findings import Finding, read_report
    from radiology.images import read_image
    from radiology.sections import read_sections
    from radiology.sources import open_studies
    from radiology.study import Study

__all__ = ["Finding", "InputError", "Study", "compare", "open_studies", "read_image", "read_report", "read_sections"]

_HOME = {
    "Finding": "radiology.findings",
    "InputError": "radiology.errors",
    "Study": "radiology.study",
    "open_studies": "radiology.sources",
    "read_image": "radiology.images",
    "read_report": "radiology.findings",
    "read_sections": "radiology.sections",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'radiology' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
