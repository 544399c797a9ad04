"""One small run, gone the whole way once, that several tests look at."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from activations.models.transformer import TransformerReportModel
from interp.demo import DemoConfig, DemoSteering
from interp.pipeline import run_demo
from interp.progress import Reporter
from interp.run import Run
from interp.stages.base import Work
from interp.stages.eval_sae import EvalSAEConfig
from interp.stages.index import IndexConfig
from interp.stages.trace import TraceConfig
from interp.stages.train_sae import TrainSAEConfig

#: Random weights need no trained model; what is tested here is the way, not what is found on it.
TINY = DemoConfig(
    model="phantom:random",
    studies="phantom:n=40,seed=1",
    sites=("language.2",),
    trace=TraceConfig(findings=("cardiomegaly",), pairs=1, sites=("language.2",)),
    sae=TrainSAEConfig(site="language.2", expansion=1, k=8, tokens=20_000, batch_size=1024),
    late=None,
    evaluation=EvalSAEConfig(findings=("cardiomegaly", "pacemaker", "lung_nodule:left"), loss_studies=4),
    index=IndexConfig(contexts_per_kind=3),
    steering=DemoSteering(("cardiomegaly",), group=3, strengths=(2.0,), studies=2, random=1, image_studies=1),
    max_new_tokens=8,
)


def quiet() -> Work:
    return Work(Reporter(io.StringIO()))


@pytest.fixture(scope="session")
def tiny_config() -> DemoConfig:
    return TINY


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """The block is for one process at a time."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this test session; xdist gives each a folder of its own in one of all."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def own_images(shared: Path) -> Path:
    """A folder with two pictures and something that is none."""
    import numpy as np
    from PIL import Image

    folder = shared / "images"
    with alone(shared / "images.lock"):
        if not folder.exists():
            folder.mkdir()
            for number in range(2):
                pixels = np.random.default_rng(number).integers(0, 255, (80, 90), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"picture-{number}.png")
            (folder / "broken.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="session")
def tiny_run(shared: Path, own_images: Path) -> Run:
    """The whole demo on phantoms and two own images; tests must not write into it.

    It takes 20 s, so the processes of a test session share it: the first makes it, the others wait and open it.
    """
    path, made = shared / "tiny", shared / "tiny.made"
    with alone(shared / "tiny.lock"):
        if not made.exists():
            run_demo(Run.create(path, ["interp", "demo"]), replace(TINY, images=own_images), quiet())
            made.touch()
    return Run.open(path)


@pytest.fixture
def short_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody sets a limit, reports end after 12 tokens: random weights would never end one by themselves."""
    whole = TransformerReportModel.generate

    def generate(self: TransformerReportModel, *inputs: Any, max_new_tokens: int | None = None, **options: Any) -> Any:
        return whole(self, *inputs, max_new_tokens=max_new_tokens or 12, **options)

    monkeypatch.setattr(TransformerReportModel, "generate", generate)
