"""One autoencoder of a training: its state, its folder, and what is written there."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from sae import tensorboard, wandb_log
from sae.checkpoint import Checkpoint, delete_checkpoints, load_checkpoint, newest_checkpoint, save_checkpoint
from sae.config import SAEConfig, TrainConfig
from sae.errors import SAEError
from sae.files import write_atomically
from sae.formats.native import CONFIG_FILE, WEIGHTS_FILE, read_config
from sae.kernels import REFERENCE
from sae.kernels.choice import Choice
from sae.metrics import METRICS_FILE, MetricsLog, Tracker
from sae.model import MatryoshkaSAE
from sae.parallel import Alone
from sae.state import TrainingState

CHECKPOINTS = "checkpoints"
KERNELS_FILE = "kernels.json"
# Fields that do not change what is learned: a run may be resumed with others.
_FREE_FIELDS = frozenset({"log_every", "checkpoint_every", "keep_checkpoints", "device"})


@dataclass(frozen=True)
class Job:
    """One autoencoder to train.

    Attributes:
        out_dir: where `cfg.json`, `sae.safetensors`, `metrics.parquet`, `tensorboard/` and `checkpoints/` go.
        extra: JSON values written to `cfg.json` and found again as `MatryoshkaSAE.extra`.
        trackers: made when the training begins, with the folder; told of each row of the log.
    """

    sae_config: SAEConfig
    train_config: TrainConfig
    out_dir: Path
    extra: dict[str, Any] = field(default_factory=dict)
    trackers: Sequence[Callable[[Path], Tracker]] = ()

    @property
    def config(self) -> dict[str, Any]:
        """Both configurations as JSON values, as checkpoints keep them."""
        return {"sae": self.sae_config.to_dict(), "train": self.train_config.to_dict()}

    def clear(self) -> None:
        """Remove what an earlier training left in the folder."""
        delete_checkpoints(self.out_dir / CHECKPOINTS)
        for name in (CONFIG_FILE, WEIGHTS_FILE, METRICS_FILE, KERNELS_FILE, wandb_log.RUN_FILE):
            (self.out_dir / name).unlink(missing_ok=True)
        shutil.rmtree(self.out_dir / tensorboard.FOLDER, ignore_errors=True)

    @property
    def newest(self) -> Path | None:
        """The newest checkpoint."""
        return newest_checkpoint(self.out_dir / CHECKPOINTS)

    def finished(self) -> MatryoshkaSAE | None:
        """The autoencoder if it is trained already.

        Raises:
            SAEError: with another configuration.
        """
        path = self.out_dir / CONFIG_FILE
        if not path.exists():
            return None
        _refuse_other_config(read_config(self.out_dir), self.config, path)
        return MatryoshkaSAE.load(self.out_dir)


class Member:
    """A job under way; it goes on from the newest checkpoint in its folder.

    Args:
        parallel: this process's part of it; only the process that leads writes files.
        newest: where to go on.

    Raises:
        SAEError: the checkpoint is damaged or was made with another configuration.
    """

    def __init__(self, job: Job, parallel: Alone, newest: Path | None) -> None:
        self.job = job
        self.state = TrainingState(job.sae_config, job.train_config, parallel)
        self._leads = parallel.leads
        job.out_dir.mkdir(parents=True, exist_ok=True)
        if newest is not None:
            _restore(self.state, newest, job.config)
        self.log = MetricsLog.up_to(job.out_dir / METRICS_FILE, self.state.step)
        self._trackers: list[Tracker] = []
        self._saved = self.state.step if newest is not None else -1
        self._mark = (time.perf_counter(), self.state.tokens)
        self.news = ""
        """What was measured at the start, in words, until somebody has said it."""

    @property
    def step(self) -> int:
        """Batches that it has learned from."""
        return self.state.step

    @property
    def tokens_left(self) -> int:
        return max(self.job.train_config.n_tokens - self.state.tokens, 0)

    def begin(self) -> None:
        """Open what is told of the log, and start the clock of its speed."""
        if self._leads:
            self._open_trackers()
        self._mark = (time.perf_counter(), self.state.tokens)

    def _open_trackers(self) -> None:
        self._trackers.append(tensorboard.TensorBoardLog(self.job.out_dir / tensorboard.FOLDER, self.log.rows))
        self._trackers.extend(make(self.job.out_dir) for make in self.job.trackers)

    def advance(self, batch_nd: torch.Tensor) -> None:
        """Learn from a batch; log it and keep a checkpoint when it is time.

        Raises:
            SAEError: see `TrainingState.advance` and `TrainingState.require_sound`.
        """
        config = self.job.train_config
        last = self.tokens_left <= self.state.rows_of(batch_nd)
        measures = self.state.advance(batch_nd, measure=last or (self.step + 1) % config.log_every == 0)
        if self.state.choice is not None:
            self._note_kernels(self.state.choice)
        if measures is not None:
            self.state.require_sound()
            now, before = (time.perf_counter(), self.state.tokens), self._mark
            rate = (now[1] - before[1]) / max(now[0] - before[0], 1e-9)
            row = {**asdict(measures), "step": self.step, "tokens": self.state.tokens, "tokens_per_s": rate}
            self.log.add(row)
            for tracker in self._trackers:
                tracker.add(row)
            self._mark = now
        if not last and self.step % config.checkpoint_every == 0:
            self.save()

    def _note_kernels(self, choice: Choice) -> None:
        """Write down how the kernels were chosen; a checkpoint has their name."""
        self.state.choice = None
        if self._leads:
            text = json.dumps(choice.to_dict(), indent=2) + "\n"
            write_atomically(self.job.out_dir / KERNELS_FILE, lambda path: _write(path, text))
            self.news = choice.words()
            self._mark = (time.perf_counter(), self.state.tokens)

    def save(self) -> None:
        """Keep a checkpoint of this very step.

        Raises:
            SAEError: the weights are not worth it; the checkpoint before stays the newest.
        """
        if self._saved == self.step:
            return
        self.state.require_sound()
        tensors = self.state.tensors()
        if self._leads:
            self.log.write()
            checkpoint = Checkpoint(tensors, self.state.numbers(), self.job.config)
            keep = self.job.train_config.keep_checkpoints
            save_checkpoint(self.job.out_dir / CHECKPOINTS, self.step, checkpoint, keep)
        self._saved = self.step

    def finish(self) -> MatryoshkaSAE | None:
        """Write what was learned; None in a process that writes nothing."""
        sae = self.state.finished()
        if sae is not None:
            self.log.write()
            sae.extra = dict(self.job.extra)
            if self.state.kernels not in (None, REFERENCE):
                sae.extra["kernels"] = self.state.kernels.name
            sae.save(self.job.out_dir)
        return sae

    def close(self) -> None:
        """Close what was told of the log."""
        for tracker in self._trackers:
            tracker.close()
        self._trackers.clear()


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _restore(state: TrainingState, path: Path, config: dict[str, Any]) -> None:
    checkpoint = load_checkpoint(path)
    _refuse_other_config(checkpoint.config, config, path)
    try:
        state.restore(checkpoint.tensors, checkpoint.numbers)
    except KeyError as error:
        raise SAEError(f"{path} lacks {error}; delete it to go on from the one before") from error


def _refuse_other_config(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    for part in ("sae", "train"):
        have = found.get(part)
        if not isinstance(have, dict):
            raise SAEError(
                f"{path} does not say how it was trained; give another out_dir, or resume=False to replace it"
            )
        for name in sorted(set(have) | set(wanted[part])):
            if name not in _FREE_FIELDS and have.get(name) != wanted[part].get(name):
                raise SAEError(
                    f"{path} was made with {part}.{name} = {have.get(name)!r}, now {wanted[part].get(name)!r} is "
                    "asked for: give the same value, another out_dir, or resume=False to start anew"
                )
