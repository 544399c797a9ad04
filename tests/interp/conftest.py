"""One small run, gone the whole way once, that several tests look at."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def own_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pictures and something that is none."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("images")
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (80, 90), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"picture-{number}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, own_images: Path) -> Run:
    """The whole demo on phantoms and two own images; tests must not write into it."""
    run = Run.create(tmp_path_factory.mktemp("runs") / "tiny", ["interp", "demo"])
    run_demo(run, replace(TINY, images=own_images), quiet())
    return run
