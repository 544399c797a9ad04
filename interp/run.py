"""The run directory: everything that one pass of the way has written, and what state it is in.

RUN/run.json  studies.parquet  activations/  sae/NAME/…  dashboard.html
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp import run_file
from interp.files import remove
from interp.plain import differences, digest, plain
from interp.run_contents import RunContents
from interp.run_file import RunFile, Stage
from interp.run_lock import LOCK_NAME, writing
from radiology.errors import InputError

if TYPE_CHECKING:
    from autointerp.table import Feature
    from radiology.study import Study

#: Which command does a stage, for messages. Stages of a named SAE are called ``stage:NAME``.
COMMAND_OF_STAGE = {
    "cache": "interp cache",
    "train-sae": "interp train-sae",
    "eval-sae": "interp eval-sae",
    "index": "interp index",
    "explain": "interp explain",
    "score": "interp score",
    "trace": "interp trace",
    "screen": "interp screen",
    "steer": "interp steer",
    "dashboard": "interp dashboard --export",
}


@dataclass(frozen=True)
class StageResult:
    """What a stage came to: its summary, and whether the work had been done before."""

    summary: dict[str, Any]
    skipped: bool


class Run(RunContents):
    """A run directory. Reading is always allowed; writing wants :meth:`writing`.

    Attributes:
        path: the directory.
        record: the content of ``run.json``.
    """

    def __init__(self, path: Path, record: RunFile) -> None:
        super().__init__()
        self.path = path
        self.record = record

    def __repr__(self) -> str:
        states = ", ".join(f"{name} {stage.state}" for name, stage in self.record.stages.items())
        return f"Run({str(self.path)!r}: {states or 'nothing done yet'})"

    @staticmethod
    def create(path: str | Path, command: Sequence[str] | None = None) -> Run:
        """Make a run directory, or open the one that is there.

        Raises:
            InputError: the path is a file, or a folder with other things in it.
        """
        directory = Path(path)
        if (directory / run_file.NAME).is_file():
            return Run.open(directory)
        if directory.exists() and not directory.is_dir():
            raise InputError(f"{directory} is a file; --run wants a folder. Choose another name.")
        if directory.is_dir() and any(item.name != LOCK_NAME for item in directory.iterdir()):
            raise InputError(
                f"{directory} is not a run of interp (it has files, but no {run_file.NAME}). "
                "Choose an empty or a new folder."
            )
        directory.mkdir(parents=True, exist_ok=True)
        record = RunFile.new(list(command if command is not None else sys.argv))
        with writing(directory, "making the run directory"):
            record.write(directory)
        return Run(directory, record)

    @staticmethod
    def open(path: str | Path) -> Run:
        """Open a run directory.

        Raises:
            InputError: there is none, or ``run.json`` is of another kind, newer or damaged.
        """
        directory = Path(path)
        if not directory.is_dir():
            what = "is a file, not a run directory" if directory.exists() else "does not exist"
            raise InputError(f"{directory} {what}. Give the folder of a run, e.g. --run runs/demo.")
        if not (directory / run_file.NAME).is_file():
            raise InputError(
                f"{directory} is not a run of interp (no {run_file.NAME}). "
                "`interp demo` or `interp cache --run DIR` makes one."
            )
        return Run(directory, RunFile.read(directory))

    # What steering begins with

    def carriers(self, finding: str, n: int = 10, *, name: str = "main") -> list[Feature]:
        """The ``n`` features that carry a finding on the frontal image most, strongest first, from the select half.

        See :class:`interp.steering_targets.Carriers`. One finding is often split over several features.

        Raises:
            InputError: the studies are not labelled with the finding, or no feature carries it.
        """
        from interp.steering_targets import carriers

        table = self.features_of(name)
        return [table[number] for number in carriers(self, name, [finding], n)[finding].features]

    def studies_with_room(self, finding: str, goal: str = "present", n: int = 16) -> list[Study]:
        """Up to ``n`` studies of the report half without the finding (goal ``present``) or with it (``absent``).

        Raises:
            InputError: there is none.
        """
        from interp.steering_targets import room_for

        return self.studies.pick(room_for(self, finding, goal, n))

    # Stages

    def stage(self, name: str) -> Stage | None:
        """The record of a stage, or None if it never began."""
        return self.record.stages.get(name)

    def is_done(self, name: str) -> bool:
        """Done, and its outputs are still there."""
        stage = self.stage(name)
        return stage is not None and stage.state == "done" and all((self.path / out).exists() for out in stage.outputs)

    def require(self, name: str) -> Stage:
        """The record of a finished stage.

        Raises:
            InputError: not done yet; the message names the command that does it.
        """
        stage = self.stage(name)
        if stage is None or not self.is_done(name):
            if stage is not None and stage.config.get("merged_from"):
                raise InputError(f"{self.path}: merging is not done. Run the same `interp store merge` to finish it.")
            command = COMMAND_OF_STAGE.get(name.split(":")[0], "interp demo")
            raise InputError(f"{self.path}: stage {name!r} is not done. Run `{command} --run {self.path}` first.")
        return stage

    def config_of(self, name: str) -> dict[str, Any]:
        """The settings that a finished stage was done with."""
        return self.require(name).config

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Be the only writer; the record is read anew, since another writer may have gone before."""
        with writing(self.path, what):
            self.record = RunFile.read(self.path)
            yield

    def do(
        self,
        name: str,
        config: Any,
        outputs: Sequence[Path],
        work: Callable[[], Mapping[str, Any]],
        *,
        after: Sequence[str] = (),
        also: Sequence[Path] = (),
        shared: bool = False,
        redo: bool = False,
    ) -> StageResult:
        """Do a stage unless it has been done with the same settings on the same ground.

        A stage that was stopped is continued: ``work`` finds what it had written. If settings or an earlier stage
        changed, what it had written is stale: it is removed with ``redo``, and an error without.

        Args:
            name: e.g. ``cache`` or ``train-sae:main``.
            config: what decides the result; hashed together with the hashes of the stages in ``after``.
            outputs: files and folders that the stage writes.
            work: does it and returns a summary for ``run.json``.
            after: stages that must have been done.
            also: what else is stale with the outputs: checkpoints, and what later stages made from them.
            shared: the outputs hold what others wrote too, and the work replaces its own part; nothing is removed.
            redo: replace what was made with other settings.

        Raises:
            InputError: an earlier stage is missing, or other settings without ``redo``.
        """
        settings, config_hash = self._hashed(config, after)
        old = self.stage(name)
        if old is not None and old.config_hash == config_hash and self.is_done(name):
            return StageResult(old.summary, skipped=True)
        if old is not None and old.config_hash != config_hash and not shared:
            self._drop(old, settings, redo)
        stage = Stage(
            state="running",
            config=settings,
            config_hash=config_hash,
            outputs=self._relative(outputs),
            also=self._relative(also),
            started=run_file.now(),
        )
        self._put(name, stage)
        start = time.monotonic()
        try:
            stage.summary = plain(work())
            missing = [out for out in stage.outputs if not (self.path / out).exists()]
            if missing:
                raise RuntimeError(f"stage {name} ended without writing {missing}")
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)  # Ctrl-C, and SIGTERM as SystemExit
            stage.state, stage.error = ("pending", "stopped") if stopped else ("failed", _short(error))
            self._put_even_if_full(name, stage)
            raise
        stage.state, stage.finished, stage.seconds = "done", run_file.now(), round(time.monotonic() - start, 1)
        self._put(name, stage)
        self.forget()
        return StageResult(stage.summary, skipped=False)

    def refuse_other(self, name: str, config: Any, *, after: Sequence[str] = ()) -> None:
        """The refusal of :meth:`do` beforehand, for who does several stages together: nothing is touched.

        Raises:
            InputError: an earlier stage is missing, or the stage has written something with other settings.
        """
        settings, config_hash = self._hashed(config, after)
        old = self.stage(name)
        if old is not None and old.config_hash != config_hash:
            self._refuse_stale(old, settings)

    def _hashed(self, config: Any, after: Sequence[str]) -> tuple[Any, str]:
        settings = plain(config)
        return settings, digest({"config": settings, "after": {s: self.require(s).config_hash for s in after}})

    def discard(self, name: str) -> None:
        """Remove what a stage wrote and what was made from it, as if it had never been done."""
        stage = self.record.stages.pop(name, None)
        if stage is not None:
            for out in (*stage.outputs, *stage.also):
                remove(self.path / out)
            self.record.write(self.path)
            self.forget()

    def _drop(self, old: Stage, settings: Mapping[str, Any], redo: bool) -> None:
        if not redo:
            self._refuse_stale(old, settings)
        for out in (*old.outputs, *old.also):
            remove(self.path / out)

    def _refuse_stale(self, old: Stage, settings: Mapping[str, Any]) -> None:
        there = [out for out in (*old.outputs, *old.also) if (self.path / out).exists()]
        if there:
            changed = differences(old.config, settings)
            why = "; ".join(changed) if changed else "an earlier stage was done again"
            raise InputError(
                f"{self.path}: {', '.join(there)} was made with other settings ({why}). "
                "Choose another --run, ask for the same settings, or add --redo to replace it."
            )

    def _relative(self, paths: Sequence[Path]) -> list[str]:
        return [str(path.relative_to(self.path)) for path in paths]

    def _put(self, name: str, stage: Stage) -> None:
        self.record.stages[name] = stage
        self.record.write(self.path)

    def _put_even_if_full(self, name: str, stage: Stage) -> None:
        """Note a failure; if not even that can be written, the failure itself is what the user must hear."""
        try:
            self._put(name, stage)
        except OSError as error:
            print(f"run.json could not be updated: {error}", file=sys.stderr)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:300]


def open_run(path: str | Path) -> Run:
    """Open a run directory for reading; see :meth:`Run.open`."""
    return Run.open(path)
