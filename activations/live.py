"""Batches for a trainer straight from the model, for runs whose activations no disk would hold.

An epoch permutes the studies and cuts the order into passes of the model. The rows of consecutive passes fill a mixing
pool, whose rows are permuted and handed out while a thread fills the next one. All orders follow from (seed, epoch)
alone. Rows are rounded as a store would round them, so that the stream is what a store of the same studies holds, in
another order.

Memory: about three pools of rows in the number format of the store (one in use, one being filled, and its copy in the
moment it is permuted), and the activations of one pass.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from activations.encoding import decode, encode
from activations.hooks import is_image_site, positions_for, resolve_sites
from activations.live_log import PoolLog, PoolRecord
from activations.models.base import ReportModel
from activations.passes import generating, teacher_forced
from activations.roles import Role
from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.study import Study

#: Rows of a mixing pool: 1 GiB at width 4,096 in bfloat16.
POOL_ROWS = 131_072


class Studies(Protocol):
    """Studies by number; None for one that cannot be used, always the same ones."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> Study | None: ...


@dataclass(frozen=True)
class LivePlan:
    """What decides the rows of a stream and their order, beside the model and the studies.

    Attributes:
        site: where the rows are read.
        roles: whose tokens are kept.
        seed: of the order of studies and rows.
        dtype: rows are rounded to it, as a store of this number format would.
        mode: ``teacher-forced`` or ``generate``; see :func:`activations.cache_activations`.
        max_new_tokens: limit of written reports; None is the model's own.
        max_norm: rows with a larger L2 norm are left out; None keeps all.
        pass_size: studies in one pass of the model.
        pool_rows: a pool takes whole passes until it has so many rows.
    """

    site: str
    roles: tuple[Role, ...]
    seed: int
    dtype: str = "bfloat16"
    mode: str = "teacher-forced"
    max_new_tokens: int | None = None
    max_norm: float | None = None
    pass_size: int = 16
    pool_rows: int = POOL_ROWS

    def __post_init__(self) -> None:
        for name in ("pass_size", "pool_rows"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: {getattr(self, name)} must be 1 or more")
        if is_image_site(self.site) and Role.IMAGE not in self.roles:
            raise InputError(f"roles: {self.site} has rows for image tokens only; ask for the role image")


class LiveBatches:
    """For a trainer: ``source(n)`` goes on after n full batches, over epochs without end.

    Batches are (batch_size, d) float32 on the CPU. Every kept row of every usable study comes exactly once an epoch;
    a batch may join two epochs. On a CPU, ``source(n)`` gives the same bits as an uninterrupted stream: the pools that
    were formed are known by their numbers of rows (:class:`PoolLog`), so that only the pool in which the stream goes on
    is formed again. Without that knowledge the studies before it are run again.

    Args:
        studies: of an epoch; called from a thread, one call at a time.
        log: file of the pools, beside the checkpoints; None keeps them in memory.
        study_key: tells these studies from others; a log of others is refused.

    Raises:
        InputError: an unknown site, no studies, or a log of another stream.
    """

    def __init__(
        self,
        model: ReportModel,
        studies: Studies,
        plan: LivePlan,
        batch_size: int,
        *,
        log: Path | None = None,
        study_key: str = "",
    ) -> None:
        if not len(studies):
            raise InputError("studies: the source gives none; look at its path and filters")
        if batch_size < 1:
            raise InputError(f"batch_size: {batch_size}; a batch has at least one row")
        (self.site,) = resolve_sites(model, [plan.site])
        self._model, self._studies, self._plan, self._batch_size = model, studies, plan, batch_size
        self._passes = -(-len(studies) // plan.pass_size)
        stream = {
            **asdict(plan),
            "roles": [role.name.lower() for role in plan.roles],
            "model": model.fingerprint,
            "studies": [len(studies), study_key],
        }
        self.log = PoolLog(log, stream, self._passes)
        self._open: list[tuple[threading.Event, ThreadPoolExecutor]] = []

    def __call__(self, n_batches: int) -> Iterator[torch.Tensor]:
        number, skip = 0, n_batches * self._batch_size
        while number < len(self.log.pools) and skip >= self.log.pools[number].rows:
            skip -= self.log.pools[number].rows
            number += 1
        return self._batches(number, skip)

    def close(self) -> None:
        """End all streams; nothing is run for them any more when this returns."""
        for stop, filler in self._open:
            stop.set()
            filler.shutdown()
        self._open.clear()

    def _batches(self, number: int, skip: int) -> Iterator[torch.Tensor]:
        carried: list[np.ndarray] = []
        missing = self._batch_size
        for rows_nd in self._pools(number):
            at, skip = min(skip, len(rows_nd)), max(skip - len(rows_nd), 0)
            while at < len(rows_nd):
                carried.append(rows_nd[at : at + missing])
                at += len(carried[-1])
                missing -= len(carried[-1])
                if not missing:
                    yield decode(np.concatenate(carried), self._plan.dtype)
                    carried, missing = [], self._batch_size

    def _pools(self, number: int) -> Iterator[np.ndarray]:
        """Pools from ``number`` on, without end; one is filled while the one before it is used."""
        stop, filler = threading.Event(), ThreadPoolExecutor(1, thread_name_prefix="live")
        self._open.append((stop, filler))
        with filler:
            try:
                coming: Future[np.ndarray] = filler.submit(self._form, number, stop)
                while True:
                    rows_nd = coming.result()
                    number += 1
                    coming = filler.submit(self._form, number, stop)
                    yield rows_nd
            finally:
                stop.set()  # who ends the stream waits for one pass, not for a pool

    def _form(self, number: int, stop: threading.Event) -> np.ndarray:
        """Run passes until the pool is full or the epoch at its end; its rows as stored, in their final order."""
        epoch, first = self.log.start_of(number)
        order = np.random.default_rng([self._plan.seed, epoch]).permutation(len(self._studies))
        parts: list[np.ndarray] = []
        by_role: Counter[str] = Counter()
        following, rows, left = first, 0, 0
        while following < self._passes and rows < self._plan.pool_rows and not stop.is_set():
            start = following * self._plan.pass_size
            for part_nd, roles, dropped in self._pass(order[start : start + self._plan.pass_size]):
                parts.append(part_nd)
                by_role.update(Role(int(role)).name.lower() for role in roles)
                rows, left = rows + len(part_nd), left + dropped
            following += 1
        if stop.is_set():
            return np.empty((0, 0))  # nobody waits for it
        self.log.note(number, PoolRecord(epoch, first, following, rows, dict(sorted(by_role.items())), left))
        self._require_rows(epoch)
        if not rows:
            return np.empty((0, 0))
        return np.concatenate(parts)[np.random.default_rng([self._plan.seed, epoch, first]).permutation(rows)]

    def _pass(self, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """Of each usable study: kept rows as stored (n, d), their roles (n,), and how many were too long."""
        plan, site = self._plan, self.site
        batch = [study for number in numbers if (study := self._studies[int(number)]) is not None]
        if not batch:
            return
        run = generating if plan.mode == "generate" else teacher_forced
        done = run(self._model, (site,), batch, plan.max_new_tokens)
        for table, rows_nd in zip(done.tables, done.rows[site], strict=True):
            kept = table.where(plan.roles)
            positions = positions_for(site, table)
            if is_image_site(site):
                kept = np.intersect1d(kept, positions)
            chosen = torch.from_numpy(np.searchsorted(positions, kept)).to(rows_nd.device)
            stored_nd = encode(rows_nd[chosen], plan.dtype)
            short = np.ones(len(kept), dtype=bool)
            if plan.max_norm is not None:
                short = decode(stored_nd, plan.dtype).norm(dim=1).numpy() <= plan.max_norm
            yield stored_nd[short], table.role[kept[short]], int((~short).sum())

    def _require_rows(self, epoch: int) -> None:
        pools = self.log.pools
        if pools[-1].stop == self._passes and not any(pool.rows for pool in pools if pool.epoch == epoch):
            wanted = ", ".join(role.name.lower() for role in self._plan.roles)
            raise InputError(
                f"roles: no usable token of any study has one of the roles {wanted} and a norm below the limit"
            )
