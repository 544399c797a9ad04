"""The training loop: an iterator of batches, an objective, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sae.checkpoint import Checkpoint, delete_checkpoints, load_checkpoint, newest_checkpoint, save_checkpoint
from sae.config import SAEConfig, TrainConfig
from sae.errors import SAEError
from sae.formats.native import CONFIG_FILE, WEIGHTS_FILE, read_config
from sae.interrupt import DeferredSignals
from sae.metrics import METRICS_FILE, MetricsLog
from sae.model import MatryoshkaSAE
from sae.state import TrainingState

CHECKPOINTS = "checkpoints"
# Fields that do not change what is learned: a run may be resumed with others.
_FREE_FIELDS = frozenset({"log_every", "checkpoint_every", "keep_checkpoints", "device"})

Batches = Callable[[int], Iterator[torch.Tensor]]
Progress = Callable[[int, int, str], None]


def train(
    batches: Batches,
    sae_config: SAEConfig,
    train_config: TrainConfig,
    out_dir: str | Path,
    *,
    resume: bool = True,
    progress: Progress | None = None,
    extra: dict[str, Any] | None = None,
) -> MatryoshkaSAE:
    """Train an autoencoder and write `cfg.json`, `sae.safetensors`, `metrics.parquet` and `checkpoints/` to out_dir.

    A run that was killed goes on from its newest checkpoint; on the CPU it ends with the same bits as an
    uninterrupted one. Ctrl-C and SIGTERM take effect between two steps, after a checkpoint. A finished out_dir is
    loaded and returned at once.

    Args:
        batches: `batches(n)` gives the iterator positioned after n consumed batches, the same rows every time; each
            batch is (B, d), B at most `batch_size`.
        resume: False deletes what an earlier run left in out_dir and starts anew.
        progress: called with (tokens done, tokens in all, note) at the start, the end and every `log_every` steps.
        extra: JSON values written to `cfg.json` and found again as `MatryoshkaSAE.extra`.

    Raises:
        SAEError: out_dir was trained with another configuration, a batch has a wrong shape or NaN, the loss stops
            being finite, or the iterator ends before `n_tokens`.
    """
    out_dir = Path(out_dir)
    config = {"sae": sae_config.to_dict(), "train": train_config.to_dict()}
    if not resume:
        _clear(out_dir)
    elif (out_dir / CONFIG_FILE).exists():
        header = read_config(out_dir)
        _refuse_other_config(header, config, out_dir / CONFIG_FILE)
        return MatryoshkaSAE.load(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    state = TrainingState(sae_config, train_config)
    newest = newest_checkpoint(out_dir / CHECKPOINTS)
    if newest is not None:
        _restore(state, newest, config)
    log = MetricsLog.up_to(out_dir / METRICS_FILE, state.step)
    _Loop(state, log, out_dir / CHECKPOINTS, config, progress).run(batches)
    log.write()
    sae = state.finished()
    sae.extra = dict(extra or {})
    sae.save(out_dir)
    return sae


class _Loop:
    def __init__(
        self,
        state: TrainingState,
        log: MetricsLog,
        checkpoints: Path,
        config: dict[str, Any],
        progress: Progress | None,
    ) -> None:
        self._state = state
        self._log = log
        self._checkpoints = checkpoints
        self._config = config
        self._progress = progress
        self._total = state.train_config.n_tokens

    def run(self, batches: Batches) -> None:
        """Steps until n_tokens are done. KeyboardInterrupt and SystemExit leave a checkpoint behind."""
        state, config = self._state, self._state.train_config
        self._report(f"resumed at step {state.step}" if state.step else "starting")
        mark_time, mark_tokens = time.perf_counter(), state.tokens
        with DeferredSignals() as signals:
            # The signals being deferred, these two can only come from the iterator or the callback, between two steps.
            try:
                iterator = batches(state.step)
                while state.tokens < self._total:
                    batch_nd = next(iterator, None)
                    if batch_nd is None:
                        self._save()
                        raise self._ended_early()
                    last = state.tokens + len(batch_nd) >= self._total
                    measures = state.advance(batch_nd, measure=last or (state.step + 1) % config.log_every == 0)
                    if measures is not None:
                        now = time.perf_counter()
                        rate = (state.tokens - mark_tokens) / max(now - mark_time, 1e-9)
                        row = {**asdict(measures), "step": state.step, "tokens": state.tokens, "tokens_per_s": rate}
                        self._log.add(row)
                        self._report(self._log.note())
                        mark_time, mark_tokens = now, state.tokens
                    if not last and state.step % config.checkpoint_every == 0:
                        self._save()
                    if signals.received is not None:
                        self._save()
                        signals.act()
            except (KeyboardInterrupt, SystemExit):
                if signals.received is None:
                    self._save()
                raise

    def _save(self) -> None:
        state = self._state
        checkpoint = Checkpoint(state.tensors(), state.numbers(), self._config)
        self._log.write()
        save_checkpoint(self._checkpoints, state.step, checkpoint, state.train_config.keep_checkpoints)

    def _ended_early(self) -> SAEError:
        return SAEError(
            f"the batches ended after {self._state.tokens} tokens, n_tokens = {self._total}: lower n_tokens or let the "
            "iterator start another epoch; a checkpoint was kept"
        )

    def _report(self, note: str) -> None:
        if self._progress is not None:
            self._progress(min(self._state.tokens, self._total), self._total, note)


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
        for field in sorted(set(have) | set(wanted[part])):
            if field not in _FREE_FIELDS and have.get(field) != wanted[part].get(field):
                raise SAEError(
                    f"{path} was made with {part}.{field} = {have.get(field)!r}, now {wanted[part].get(field)!r} is "
                    "asked for: give the same value, another out_dir, or resume=False to start anew"
                )


def _clear(out_dir: Path) -> None:
    delete_checkpoints(out_dir / CHECKPOINTS)
    for name in (CONFIG_FILE, WEIGHTS_FILE, METRICS_FILE):
        (out_dir / name).unlink(missing_ok=True)
