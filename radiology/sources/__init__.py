"""Where studies come from: ``open_studies("folder:PATH")``, ``open_studies("phantom:n=2000,seed=0")``, and others.

A source is one module with a function ``open_source(arguments, *, strict) -> StudySource``, entered by its scheme in
``registry.READERS``.
"""

from __future__ import annotations

from radiology.sources.base import Skipped, StudySource
from radiology.sources.registry import READERS, open_studies

__all__ = ["READERS", "Skipped", "StudySource", "open_studies"]
