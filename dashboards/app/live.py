"""One live generation with the run's model: the reports before and after, and the proof that something was steered."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dash import html

from dashboards.app import parts
from dashboards.app.parts import count, words
from radiology.errors import InputError

if TYPE_CHECKING:
    from dashboards.app.routing import Context

KINDS = ("add", "clamp", "ablate")
MAX_STRENGTH = 50.0
#: One model, one generation at a time.
_BUSY = threading.Lock()


def steer_result(context: Context, asked: Mapping[str, str]) -> Any:
    """Steer as asked and show what came of it.

    Raises:
        InputError: live steering is off, a value cannot be used, or a generation is running.
    """
    steer = context.helpers.steer
    if steer is None:
        raise InputError("Live steering is off; start the dashboard with --live.")
    study_id, kind = str(asked.get("study", "")), str(asked.get("kind", "add"))
    shown = context.view.tables.ask("SELECT study FROM studies WHERE study_id = ?", [study_id])
    if not shown:
        raise InputError(f"study: the run shows no study {study_id!r}")
    feature, strength = _whole(asked.get("feature")), _finite(asked.get("strength"))
    if context.view.list is None or not context.view.list.short([feature]):
        raise InputError(f"feature: the run has no feature {feature}")
    if kind not in KINDS:
        raise InputError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    if not _BUSY.acquire(blocking=False):
        raise InputError("The model is writing another report; try again when it is done.")
    try:
        result = steer(study_id, feature, strength, kind)
    finally:
        _BUSY.release()
    return _shown(study_id, feature, strength, kind, result)


def _shown(study_id: str, feature: int, strength: float, kind: str, result: Mapping[str, Any]) -> html.Div:
    proof = result["proof"]
    tokens = proof.get("tokens") or {}
    changed = ", ".join(f"{count(n)} {words(role)}" for role, n in tokens.items()) or "none"
    comparison = {
        "examples": [{
            "study_id": study_id, "study": study_id, "unsteered": result["unsteered"],
            "steered": [{"control": "none", "strength": strength, "text": result["steered"], "parse_ok": True,
                         "changes": result.get("changes", []), "tokens": sum(tokens.values()) if tokens else None}],
        }]
    }  # fmt: skip
    size = parts.number(proof.get("delta_norm"))
    said = f"; hook calls: {count(proof.get('calls'))}; summed length of the change: {size}."
    return html.Div(
        [
            html.H3(f"Feature {feature}, {kind} {strength:g}, study {study_id}"),
            html.P(["Proof of application: ", html.Strong(f"tokens changed: {changed}"), said], className="proof"),
            parts.widget("examples", comparison),
            parts.small("Machine-written, one generation without controls: an impression. Experiments have controls."),
        ],
        className="stack",
    )


def _whole(text: Any) -> int:
    try:
        return int(str(text))
    except ValueError:
        raise InputError(f"feature: {text!r} is not a number of a feature") from None


def _finite(text: Any) -> float:
    try:
        value = float(str(text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > MAX_STRENGTH:
        raise InputError(f"strength: {text!r} is not a number from {-MAX_STRENGTH:g} to {MAX_STRENGTH:g}")
    return value
