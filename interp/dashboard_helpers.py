"""What the dashboard may ask of other rooms: vectors of texts, findings of a sentence, one live steered report."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dashboards.app.view import Helpers
    from interp.opening import Opening
    from interp.run import Run
    from steering import Ablate, Add, Clamp


def helpers_of(run_dir: Path, sae: str, *, live: Opening | None = None) -> Helpers:
    """What is installed here, for the dashboard of a run; nothing is loaded before it is asked for.

    Args:
        live: how to open the run's model for live steering; None switches it off.
    """
    from autointerp.reading import read_findings
    from dashboards.app.view import Helpers

    steer = None if live is None else LiveSteering(run_dir, sae, live)
    return Helpers(embed=_embedder(), read_findings=read_findings, steer=steer)


def _embedder() -> Callable[[Sequence[str]], np.ndarray] | None:
    """The packaged sentence encoder, or None where its package is not installed."""
    from radiology.metrics.text_encoders import MINILM_PACKAGE, open_encoder

    if importlib.util.find_spec(MINILM_PACKAGE) is None:
        return None
    encoders: list[Any] = []

    def embed(texts: Sequence[str]) -> np.ndarray:
        if not encoders:
            encoders.append(open_encoder("minilm"))
        return np.asarray(encoders[0].phrases(texts), dtype=np.float32)

    return embed


class LiveSteering:
    """Writes one report with the run's model and one with a feature steered; the model is opened at the first call."""

    def __init__(self, run_dir: Path, sae: str, opening: Opening) -> None:
        self._run_dir, self._sae, self._opening = run_dir, sae, opening
        self._lock = threading.Lock()
        self._run: Run | None = None

    def __call__(self, study_id: str, feature: int, strength: float, kind: str) -> Mapping[str, Any]:
        """Both reports, findings that changed, and the proof.

        Args:
            kind: ``add``, ``clamp`` (strength × largest activation) or ``ablate``.

        Raises:
            InputError: no such study or feature, a model that writes nothing, or steering that would change nothing.
        """
        import steering
        from autointerp.reading import read_findings

        with self._lock:
            run = self._opened()
            model, record = run.model, run.features_of(self._sae)[feature].row
            inputs = model.encode_batch([run.studies[study_id]])
            before = model.generate(inputs)[0].text
            intervention: Add | Clamp | Ablate
            if kind == "ablate":
                intervention = steering.Ablate()
            else:
                intervention = steering.Clamp(strength) if kind == "clamp" else steering.Add(strength)
            largest = {feature: float(record["max_activation"])}
            with steering.steer(
                model, run.sae_named(self._sae), {feature: intervention}, max_activations=largest
            ) as applied:
                after = model.generate(inputs)[0].text
        said, now = _statuses(read_findings(before)), _statuses(read_findings(after))
        names = sorted({*said, *now})
        changes = [[name, said.get(name, "absent"), now.get(name, "absent")] for name in names]
        return {
            "unsteered": before,
            "steered": after,
            "changes": [change for change in changes if change[1] != change[2]],
            "proof": applied.proof.to_json(),
        }

    def _opened(self) -> Run:
        if self._run is None:
            from interp.run import Run

            self._run = Run.open(self._run_dir)
            self._run.opening = self._opening
        return self._run


def _statuses(findings: Sequence[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in findings]
    return {name: status for name, _, status in pairs if status in ("present", "absent", "uncertain")}
