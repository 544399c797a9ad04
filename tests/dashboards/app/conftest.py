"""A run with everything that the app shows, a server over it, and a browser that may reach nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from autointerp import schema
from dashboards.app.routing import Router
from dashboards.app.server import DashboardServer, make_server
from dashboards.app.view import Helpers, LiveRun, RunView

ROWS = COLS = 6
SENTENCE = "There is a small left pleural effusion."
N_STUDIES, N_FEATURES = 48, 12


def finish(run: Path) -> Path:
    """What :func:`write_run` of the other tests does not have: activity of all studies, boxes, details, weights."""
    studies = pq.read_table(run / "studies.parquet").to_pylist()
    for row in studies:
        number = row["study"]
        row["grounded"] = json.dumps([{"text": SENTENCE, "boxes": [[0.5, 0.5, 0.8, 0.9]], "label": "pleural_effusion"}])
        row["metadata"] = json.dumps(
            {"sex": ("female", "male")[number % 2], "view": "AP", "study_time": f"2020-01-{number + 1:02d}"}
        )
    pq.write_table(pa.Table.from_pylist(studies), run / "studies.parquet")
    folder = run / "sae" / "main"
    rows = [row for feature in range(N_FEATURES - 1) for row in activity(feature, studies)]
    path = folder / "features" / schema.STUDY_ACTIVATIONS_FILE
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.STUDY_ACTIVATIONS), path)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(N_FEATURES, 8)).astype(np.float32)
    save_file({"W_dec": weights}, str(folder / "sae.safetensors"))
    return run


def activity(feature: int, studies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Feature f fires where its finding (of three) is present, and a little in every fifth other study."""
    found = []
    for row in studies:
        present = (row["study"] + feature % 3) % 3 == 0
        if not present and (row["study"] + feature) % 5:
            continue
        peak = 1.5 if present else 0.3
        common = {"feature": feature, "study": row["study"], "activation": peak, "n_tokens": 2}
        image = {"modality": "image", "role": "image", "image": "frontal", "sentence": None,
                 "patches": [feature, feature + 6], "weights": [255, 100]}  # fmt: skip
        text = {
            "modality": "text",
            "role": "report",
            "image": None,
            "sentence": SENTENCE,
            "patches": None,
            "weights": None,
        }
        found += [common | image] + ([common | text] if feature == 3 else [])
    return found


@pytest.fixture(scope="session")
def app_run(make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run. Only notes may be written to it."""
    return finish(make_run(tmp_path_factory.mktemp("runs") / "app", n_studies=N_STUDIES, n_features=N_FEATURES))


@pytest.fixture(scope="session")
def evil_app_run(make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, evil: str) -> Path:
    """The same with markup in identifiers, reports, labels, tokens and the name of the folder."""
    folder = tmp_path_factory.mktemp("runs") / "<img src=x onerror=window.pwned=1>"
    return finish(make_run(folder, n_studies=8, evil=evil))


@pytest.fixture(scope="session")
def evil() -> str:
    return "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>&lt;"


def read(text: str) -> list[str]:
    """Findings of a text, as simple as the texts of the tests are."""
    return ["pleural_effusion:left=present"] if "left pleural effusion" in text else []


@pytest.fixture(scope="session")
def helpers() -> Helpers:
    def embed(texts: Any) -> np.ndarray:
        """Two axes: hearts, and everything else."""
        rows = [[1.0, 0.0] if "cardio" in text or "heart" in text else [0.0, 1.0] for text in texts]
        return np.array(rows, dtype=np.float32)

    def steer(study_id: str, feature: int, strength: float, kind: str) -> dict[str, Any]:
        proof = {"site": "language.3", "calls": 1, "tokens": {"image": 36}, "delta_norm": 12.5}
        return {"unsteered": "No pleural effusion.", "steered": "There is a left pleural effusion.", "proof": proof,
                "changes": [["pleural_effusion", "absent", "present"]]}  # fmt: skip

    return Helpers(embed=embed, read_findings=read, steer=steer)


@pytest.fixture(scope="session")
def view(app_run: Path) -> RunView:
    return RunView(app_run, "main", False)


@pytest.fixture(scope="session")
def router(app_run: Path, helpers: Helpers) -> Router:
    return Router(LiveRun(app_run, "main", False), helpers)


@pytest.fixture(scope="session")
def serving(helpers: Helpers) -> Iterator[Callable[..., DashboardServer]]:
    """Starts servers; all are stopped at the end."""
    running: list[DashboardServer] = []

    def start(run: Path, **options: Any) -> DashboardServer:
        server = make_server(run, port=0, helpers=helpers, **options)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.close()
