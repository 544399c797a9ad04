"""The training loop: an iterator of batches, and one or several autoencoders that learn from it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from sae.config import SAEConfig, TrainConfig
from sae.errors import SAEError
from sae.formats.native import CONFIG_FILE
from sae.interrupt import DeferredSignals, act_on
from sae.member import Job, Member
from sae.metrics import Tracker
from sae.model import MatryoshkaSAE
from sae.parallel import parallel_of
from sae.peers import Peers

Batches = Callable[[int], Iterator[torch.Tensor]]
Progress = Callable[[int, int, str], None]
#: Seconds between two reports of progress.
_REPORT_EVERY = 0.5


class SomeFailedError(SAEError):
    """Some autoencoders of a set could not be trained; the others were.

    Attributes:
        failures: the error of each that failed, by its folder.
        trained: those that were trained, by their folders.
    """

    def __init__(self, failures: dict[Path, SAEError], trained: dict[Path, MatryoshkaSAE]) -> None:
        self.failures, self.trained = failures, trained
        reasons = "; ".join(f"{path.name}: {error}" for path, error in failures.items())
        super().__init__(f"{len(failures)} of {len(failures) + len(trained)} autoencoders failed. {reasons}")


def train(
    batches: Batches,
    sae_config: SAEConfig,
    train_config: TrainConfig,
    out_dir: str | Path,
    *,
    resume: bool = True,
    progress: Progress | None = None,
    extra: dict[str, Any] | None = None,
    trackers: Sequence[Callable[[Path], Tracker]] = (),
) -> MatryoshkaSAE:
    """Train an autoencoder; write `cfg.json`, `sae.safetensors`, `metrics.parquet`, TensorBoard files and checkpoints.

    A run that was killed goes on from its newest checkpoint; on the CPU it ends with the same bits as an
    uninterrupted one. Ctrl-C and SIGTERM take effect between two steps, after a checkpoint. A finished out_dir is
    loaded and returned at once.

    Args:
        batches: `batches(n)` gives the iterator positioned after n consumed batches, the same rows every time; each
            batch is (B, d), B at most `batch_size`.
        resume: False deletes what an earlier run left in out_dir and starts anew.
        progress: called with (tokens done, tokens in all, note) at the start, the end and twice a second.
        extra: JSON values written to `cfg.json` and found again as `MatryoshkaSAE.extra`.
        trackers: made with out_dir when the training begins, and told of each row of the log.

    Raises:
        SAEError: out_dir was trained with another configuration, a batch has a wrong shape or NaN, loss, gradient or
            weights explode or stop being finite, or the iterator ends before `n_tokens`.
    """
    job = Job(sae_config, train_config, Path(out_dir), dict(extra or {}), trackers)
    try:
        return train_several(batches, [job], resume=resume, progress=progress)[0]
    except SomeFailedError as error:
        raise error.failures[job.out_dir] from None


def train_several(
    batches: Batches,
    jobs: Sequence[Job],
    *,
    resume: bool = True,
    progress: Progress | None = None,
    peers: Peers | None = None,
    shard_features: bool = False,
) -> list[MatryoshkaSAE]:
    """Train several autoencoders on one reading of the data: each batch is read once.

    Each one ends as if `train` had trained it alone, bit for bit on the CPU; see there. Their steps are taken one after
    the other, so that the memory is that of all states (weights and Adam's moments, 8 · F · d floats each with the
    gradient) and of one step. Those that are done are loaded; those that were stopped at different steps wait for the
    reading to come to theirs.

    Args:
        peers: processes that train together. Each calls this with its own reader, which gives batch_size / world rows
            of every batch: row i of process r is row i · world + r. Process 0 writes the files, which all can see.
        shard_features: the processes share the features of each dictionary instead of the rows; see `sae.parallel`.

    Raises:
        ValueError: no job, or two with one folder.
        SomeFailedError: some could not be trained; the others were, and what failed can be tried again.
        SAEError: as `train`, before anything is learned.
    """
    folders = [job.out_dir for job in jobs]
    if not jobs or len(set(folders)) != len(folders):
        raise ValueError(f"jobs: {len(jobs)} with the folders {folders}; give at least one, each with its own folder")
    told = _from_first(peers)
    if not resume:
        told(lambda: _clear(jobs))
    trained: dict[Path, MatryoshkaSAE | None] = {}
    members: list[Member] = []
    for job in jobs:
        if told((job.out_dir / CONFIG_FILE).exists):
            trained[job.out_dir] = job.finished()
        else:
            parallel = parallel_of(peers, job.sae_config.n_features, shard_features)
            member = Member(job, parallel, told(lambda job=job: job.newest))  # type: ignore[misc]
            members.append(member)
            member.state.objective.share_buffers(members[0].state.objective)
    failures: dict[Path, SAEError] = {}
    if members:
        _Loop(members, trained, failures, progress, peers).run(batches)
        if peers is not None:
            peers.meet()  # what process 0 has written is there now
    here = {folder: sae or MatryoshkaSAE.load(folder) for folder, sae in trained.items()}
    if failures:
        raise SomeFailedError(failures, here) from next(iter(failures.values()))
    return [here[folder] for folder in folders]


def _clear(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.clear()


def _from_first(peers: Peers | None) -> Callable[[Callable[[], Any]], Any]:
    return (lambda make: make()) if peers is None else peers.from_first


class _Loop:
    def __init__(
        self,
        members: list[Member],
        trained: dict[Path, MatryoshkaSAE | None],
        failures: dict[Path, SAEError],
        progress: Progress | None,
        peers: Peers | None,
    ) -> None:
        self._peers = peers
        self._learning = members
        self._all = len(members)
        self._trained = trained
        self._failures = failures
        self._progress = progress
        self._total = max(member.job.train_config.n_tokens for member in members)
        self._done = self._total - max(member.tokens_left for member in members)
        self._position = min(member.step for member in members)
        self._note = f"resumed at step {self._position}" if self._position else "starting"
        self._reported = time.monotonic()

    def run(self, batches: Batches) -> None:
        """Steps until all have their n_tokens. KeyboardInterrupt and SystemExit leave checkpoints behind."""
        if self._progress is not None:
            self._progress(self._done, self._total, self._note)
        with DeferredSignals() as signals:
            # The signals being deferred, these two can only come from the iterator or the callback, between two steps.
            try:
                self._begin()
                iterator = batches(self._position)
                while self._learning:
                    batch_nd = next(iterator, None)
                    if batch_nd is None:
                        self._save()
                        raise self._ended_early()
                    self._step(batch_nd)
                    stop = self._stop(signals.received)
                    if stop is not None:
                        self._save()
                        if self._peers is not None:
                            self._peers.meet()
                        act_on(stop)
                self._report(at_once=True)
            except (KeyboardInterrupt, SystemExit):
                # Of several processes the others do not know of it, and keeping a checkpoint takes all of them.
                if signals.received is None and self._peers is None:
                    self._save()
                raise
            finally:
                for member in self._learning:
                    member.close()

    def _begin(self) -> None:
        for member in self._learning:
            member.begin()

    def _stop(self, received: signal.Signals | None) -> signal.Signals | None:
        """The signal on which to end after this step, in all processes alike."""
        if self._peers is None:
            return received
        number = self._peers.largest(0 if received is None else int(received))
        return signal.Signals(number) if number else None

    def _step(self, batch_nd: torch.Tensor) -> None:
        """Let all learn from a batch that have come so far; those that were stopped later have had it."""
        for member in list(self._learning):
            if member.step != self._position:
                continue
            try:
                member.advance(batch_nd)
            except SAEError as error:
                self._failures[member.job.out_dir] = error
                self._leave(member)
                continue
            if member.news:
                self._note, member.news = member.news, ""
                self._report(at_once=True)
            if not member.tokens_left:
                self._trained[member.job.out_dir] = member.finish()
                self._leave(member)
        self._position += 1
        self._done = min(self._done_now(), self._total)
        self._report()

    def _leave(self, member: Member) -> None:
        self._note = self._words() or self._note
        self._learning.remove(member)
        member.close()

    def _done_now(self) -> int:
        left = [member.tokens_left for member in self._learning]
        return self._total - max(left) if left else self._total

    def _save(self) -> None:
        for member in list(self._learning):
            try:
                member.save()
            except SAEError as error:
                self._failures[member.job.out_dir] = error
                self._leave(member)

    def _ended_early(self) -> SAEError:
        return SAEError(
            f"the batches ended after {self._done} tokens, n_tokens = {self._total}: lower n_tokens or let the "
            "iterator start another epoch; a checkpoint was kept"
        )

    def _words(self) -> str:
        """How the training goes: of one in words, of several the range."""
        logged = [member.log for member in self._learning if member.log.rows]
        if self._all == 1:
            return logged[0].note() if logged else ""
        if not logged:
            return ""
        explained = [log.rows[-1]["variance_explained"] for log in logged]
        dead = max(log.rows[-1]["dead_share"] for log in logged)
        lost = f", {len(self._failures)} failed" if self._failures else ""
        span = f"{min(explained):.3f}–{max(explained):.3f}"
        return f"{len(logged)} SAEs, variance explained {span}, dead ≤ {dead:.1%}{lost}"

    def _report(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._progress is None or (not at_once and now - self._reported < _REPORT_EVERY):
            return
        self._reported = now
        self._note = self._words() or self._note
        self._progress(self._done, self._total, self._note)
