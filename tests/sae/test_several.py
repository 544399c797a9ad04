"""Several autoencoders on one reading: each batch once, each as if alone, stopped wherever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from sae.config import SAEConfig, TrainConfig
from sae.errors import SAEError
from sae.member import Job
from sae.trainer import SomeFailedError, train, train_several

Batches = Callable[[int], Iterator[torch.Tensor]]
MakeBatches = Callable[..., Batches]
CONFIG = SAEConfig(d=16, n_features=64, k=4)
STEPS, ROWS = 20, 256
TRAIN = TrainConfig(n_tokens=STEPS * ROWS, batch_size=ROWS, checkpoint_every=6, log_every=5, dead_after_tokens=2 * ROWS)


def jobs(folder: Path) -> list[Job]:
    """Four that differ in k, seed, size and length."""
    return [
        Job(CONFIG, TRAIN, folder / "a", {"site": "x"}),
        Job(replace(CONFIG, k=8), TRAIN, folder / "b"),
        Job(CONFIG, replace(TRAIN, seed=1, prefix_loss="sum"), folder / "c"),
        Job(SAEConfig(d=16, n_features=32, k=2), replace(TRAIN, n_tokens=13 * ROWS), folder / "d"),
    ]


class Counted:
    """Batches that know which were read, and fail before one if asked to."""

    def __init__(self, batches: Batches, fail_at: int | None = None, error: type[BaseException] = OSError) -> None:
        self.batches, self.fail_at, self.error = batches, fail_at, error
        self.read: list[int] = []

    def __call__(self, start: int) -> Iterator[torch.Tensor]:
        for number, batch_nd in enumerate(self.batches(start), start):
            if number == self.fail_at:
                raise self.error("stopped")
            self.read.append(number)
            yield batch_nd


def weights(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("*/sae.safetensors")}


@pytest.fixture
def alone(make_batches: MakeBatches, tmp_path: Path) -> dict[str, bytes]:
    for job in jobs(tmp_path / "alone"):
        train(make_batches(), job.sae_config, job.train_config, job.out_dir, extra=job.extra)
    return weights(tmp_path / "alone")


def test_each_batch_is_read_once_and_each_is_as_if_alone(
    make_batches: MakeBatches, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    source = Counted(make_batches())
    notes: list[tuple[int, int, str]] = []
    saes = train_several(source, jobs(tmp_path / "set"), progress=lambda *call: notes.append(call))
    assert source.read == list(range(STEPS))
    assert weights(tmp_path / "set") == alone
    assert [sae.n_features for sae in saes] == [64, 64, 64, 32]
    assert saes[0].extra == {"site": "x"}
    for name, rows in (("a", 4), ("d", 3)):
        logs = [pq.read_table(tmp_path / where / name / "metrics.parquet").to_pandas() for where in ("set", "alone")]
        assert len(logs[0]) == rows
        assert logs[0].drop(columns="tokens_per_s").equals(logs[1].drop(columns="tokens_per_s"))
    assert notes[-1][0] == notes[-1][1] == STEPS * ROWS
    assert "SAEs, variance explained" in notes[-1][2]


def test_the_buffers_of_a_step_are_there_once(
    make_batches: MakeBatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sae.sparse import Workspace

    made: list[Workspace] = []
    given = Workspace.get

    def noted(self: Workspace, *arguments: object, **named: object) -> torch.Tensor:
        if self not in made:
            made.append(self)
        return given(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Workspace, "get", noted)
    train_several(make_batches(), jobs(tmp_path))
    assert len(made) == 2  # of the objective, and of the selection


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("at", [3, 12, 15])
def test_a_set_stopped_anywhere_ends_the_same(
    make_batches: MakeBatches, tmp_path: Path, alone: dict[str, bytes], at: int, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        train_several(Counted(make_batches(), at, error), jobs(tmp_path / "set"))
    source = Counted(make_batches())
    train_several(source, jobs(tmp_path / "set"))
    # Ctrl-C keeps the very step, a failure leaves the last regular checkpoint.
    assert source.read == list(range(at if error is KeyboardInterrupt else at // 6 * 6, STEPS))
    assert weights(tmp_path / "set") == alone


def test_those_that_are_behind_are_waited_for(
    make_batches: MakeBatches, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    # A kill between two checkpoints of a set leaves one ahead, one behind, one not begun; and one may be done.
    all_jobs = jobs(tmp_path / "set")
    train_several(make_batches(), all_jobs[3:])
    for job, at in ((all_jobs[0], 12), (all_jobs[1], 6)):
        with pytest.raises(KeyboardInterrupt):
            train_several(Counted(make_batches(), at, KeyboardInterrupt), [job])
    source = Counted(make_batches())
    train_several(source, all_jobs)
    assert source.read == list(range(STEPS))
    assert weights(tmp_path / "set") == alone


def test_one_that_diverges_does_not_take_the_others_along(
    make_batches: MakeBatches, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    wild = Job(CONFIG, replace(TRAIN, learning_rate=300.0), tmp_path / "set" / "wild")
    with pytest.raises(SomeFailedError, match=r"1 of 5 autoencoders failed\. wild: step .* diverged") as caught:
        train_several(make_batches(), [*jobs(tmp_path / "set"), wild])
    assert list(caught.value.failures) == [wild.out_dir]
    assert weights(tmp_path / "set") == alone


def test_two_may_not_share_a_folder_and_another_configuration_is_refused_before_the_start(
    make_batches: MakeBatches, tmp_path: Path
) -> None:
    first = jobs(tmp_path)[0]
    with pytest.raises(ValueError, match="its own folder"):
        train_several(make_batches(), [first, first])
    train_several(make_batches(), [first])
    source = Counted(make_batches())
    with pytest.raises(SAEError, match=r"sae\.k = 4, now 5"):
        train_several(source, [jobs(tmp_path)[1], replace(first, sae_config=replace(CONFIG, k=5))])
    assert not source.read
