"""A real small model with random weights, studies, and a store filled without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from activations.manifest import StoreConfig
from activations.models import open_model
from activations.models.base import ReportModel
from activations.roles import Role, TokenTable
from activations.writer import StoreWriter, StudyRows
from radiology.study import GroundedSentence, Study

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model() -> ReportModel:
    return open_model("phantom:random")


def make_study(number: int) -> Study:
    """Studies differ in images, sections and report; every fifth has no report, every third a lateral and a prior."""
    rng = np.random.default_rng(number)

    def picture() -> np.ndarray:
        return rng.integers(0, 256, (140, 140), dtype=np.uint8)

    images: dict[str, Path | np.ndarray] = {"frontal": picture()}
    if number % 3 == 0:
        images |= {"lateral": picture(), "prior_frontal": picture()}
    return Study(
        study_id=f"s{number:04d}",
        patient_id=f"p{number // 2:04d}",
        images=images,
        terms="phantom",
        indication="cough" if number % 2 else None,
        prior_report="The heart is normal." if number % 3 == 0 else None,
        report=None if number % 5 == 4 else "There is no pleural effusion." + " The heart is normal." * (number % 4),
        grounded=(GroundedSentence("There is a nodule.", ((0.1, 0.2, 0.3, 0.4),), "lung_nodule"),),
        labels={"cardiomegaly": ("present", "absent", "uncertain")[number % 3]} if number % 7 else None,
        metadata={"age": 40 + number},
    )


@pytest.fixture(scope="session")
def studies() -> list[Study]:
    return [make_study(number) for number in range(12)]


def synthetic_rows(number: int, widths: dict[str, int], max_tokens: int = 40) -> StudyRows:
    """Rows of a study that can be told from all others: they depend on the study number alone."""
    rng = np.random.default_rng(number)
    n = int(rng.integers(0, max_tokens))
    roles = np.sort(rng.choice([Role.IMAGE, Role.REPORT], n)).astype(np.uint8)
    image = np.where(roles == Role.IMAGE, 0, -1)
    tokens = TokenTable(
        rng.integers(0, 99, n).astype(np.int32),
        roles,
        image.astype(np.int8),
        np.where(image == 0, 1, -1).astype(np.int16),
        np.where(image == 0, 2, -1).astype(np.int16),
    )
    record = {
        "study": number,
        "study_id": f"s{number}",
        "patient_id": f"p{number // 2}",
        "terms": "phantom",
        "split": "train",
        "rows": n,
    }
    rows = {site: torch.from_numpy(rng.standard_normal((n, d)).astype(np.float32)) for site, d in widths.items()}
    return StudyRows(record, tokens, np.arange(n) * 2 + 1, rows)


def fill_store(
    directory: Path,
    numbers: Sequence[int],
    *,
    widths: dict[str, int] | None = None,
    dtype: str = "bfloat16",
    shard_rows: int = 150,
    writers: int = 1,
    max_tokens: int = 40,
) -> Path:
    """Fill a store with synthetic rows, by as many writers as asked for, one after the other."""
    widths = widths or {"language.0": 8, "language.1": 4}
    config = StoreConfig("none", "fingerprint", widths, dtype, (Role.IMAGE, Role.REPORT), writers=writers)
    for rank in range(writers):
        with StoreWriter(directory, config, rank=rank, shard_rows=shard_rows) as writer:
            mine = [number for number in numbers if number % writers == rank]
            for number in mine[writer.studies_done :]:
                writer.add([synthetic_rows(number, widths, max_tokens)])
            writer.finish()
    return directory


@pytest.fixture(scope="session")
def fill() -> Callable[..., Path]:
    return fill_store


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., StudyRows]:
    return synthetic_rows


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_store(tmp_path_factory.mktemp("run") / "activations", range(50))
