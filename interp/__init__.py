"""Open a radiology report model, see what it holds, learn features, name them, and prove what each does.

import interp
run = interp.open("runs/demo")
run.features.search("pleural effusion")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.run import Run
    from interp.run import open_run as open

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "open"]


def __getattr__(name: str) -> Any:
    if name in {"Run", "open"}:
        from interp import run

        return run.Run if name == "Run" else run.open_run
    raise AttributeError(f"module 'interp' has no attribute {name!r}")
