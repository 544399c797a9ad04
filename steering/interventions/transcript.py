"""What is written up to a token: read from the prompt's ids, and from the ids that generation goes on with.

A hook sees residuals, not words, and with beams the rows of a cache change places from step to step. Before each step
transformers hands the ids of every row, in the order in which the rows are run, to ``prepare_inputs_for_generation``;
that is where they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

from activations.models.base import ModelInputs, ReportModel
from activations.roles import Role, TokenTable
from steering.errors import SteeringError
from steering.interventions.patterns import Prefixes
from steering.interventions.positions import Places, report_span


@dataclass(frozen=True)
class Reading:
    """What can be read at a token.

    Attributes:
        text: everything of its section up to and including the token; of the report, what is written of it.
        span: characters of the token in ``text``.
        whole: what patterns are searched in: the whole section of a prompt, ``text`` for a report.
    """

    text: str
    span: tuple[int, int]
    whole: str


class Transcript:
    """Reads the tokens of one model, batch after batch; :func:`watching` tells it what is being written."""

    def __init__(self, model: ReportModel) -> None:
        self._prefixes = Prefixes(model.text_of)
        self._inputs: ModelInputs | None = None
        self._tables: dict[int, dict[int, Reading]] = {}
        self._rows: list[tuple[int, ...]] = []
        self._lead: int | None = None

    def begin(self, inputs: ModelInputs) -> None:
        self._inputs = inputs
        self._tables, self._rows, self._lead = {}, [], None

    def note(self, ids_bt: Any) -> None:
        """Ids of all rows before the next step; at first the prompt, or nothing where it is given as embeddings."""
        if self._lead is None:
            self._lead = int(ids_bt.shape[1])
        self._rows = [tuple(row) for row in ids_bt[:, self._lead :].tolist()]

    def readings(self, places: Places, wanted: np.ndarray) -> dict[tuple[int, int], Reading]:
        """Readings of the wanted elements (b, s) that are text, by (row, column).

        Raises:
            SteeringError: the written ids are not known.
        """
        assert self._inputs is not None
        width = int(self._inputs.input_ids_bt.shape[1])
        found: dict[tuple[int, int], Reading] = {}
        for row, column in zip(*np.nonzero(wanted & (places.role != int(Role.IMAGE))), strict=True):
            study, slot = int(places.study[row, column]), int(places.slot[row, column])
            known = self._prompt(study).get(slot) if slot < width else self._written(int(row), study, slot - width)
            if known is not None:
                found[int(row), int(column)] = known
        return found

    def _written(self, row: int, study: int, number: int) -> Reading:
        assert self._inputs is not None
        if row >= len(self._rows) or number >= len(self._rows[row]):
            raise SteeringError(
                "tokens, gate or schedule read the report, and this model does not tell what it writes; generate with "
                "transformers' generate, or leave conditions on text out"
            )
        table = self._inputs.tokens[study]
        begun = _report_ids(table) if len(table) and table.role[-1] == Role.REPORT else ()
        text, span = self._prefixes(begun + self._rows[row][: number + 1])
        return Reading(text, span, text)

    def _prompt(self, study: int) -> dict[int, Reading]:
        """Readings of a study's prompt (with its teacher-forced report) by column."""
        assert self._inputs is not None
        if study not in self._tables:
            table, pad = self._inputs.tokens[study], self._inputs.padding[study]
            self._tables[study] = {
                pad + position: reading
                for start, stop, forced in _sections(table)
                for position, reading in self._section(table, start, stop, forced)
            }
        return self._tables[study]

    def _section(self, table: TokenTable, start: int, stop: int, forced: bool) -> Iterator[tuple[int, Reading]]:
        ids = tuple(table.token_id[start:stop].tolist())
        whole = self._prefixes(ids)[0]
        for end in range(1, len(ids) + 1):
            text, span = self._prefixes(ids[:end])
            yield start + end - 1, Reading(text, span, text if forced else whole)


def _report_ids(table: TokenTable) -> tuple[int, ...]:
    return tuple(table.token_id[report_span(table)].tolist())


def _sections(table: TokenTable) -> Iterator[tuple[int, int, bool]]:
    """(start, stop, is the report) of the runs of text tokens of one role; a report is one run, box tokens included."""
    forced = report_span(table)
    kind = np.where(forced, int(Role.REPORT), table.role.astype(np.int64))
    edges = np.flatnonzero(np.diff(kind)) + 1
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(table)], strict=True):
        if start < stop and kind[start] not in (int(Role.IMAGE), int(Role.SPECIAL)):
            yield start, stop, bool(forced[start])


@contextmanager
def watching(model: ReportModel, transcript: Transcript) -> Iterator[None]:
    """Tell the transcript what ``model`` generates inside the ``with`` block."""
    with ExitStack() as stack:
        for part in model.module.modules():
            if hasattr(part, "prepare_inputs_for_generation"):
                stack.enter_context(_told(part, transcript.note))
        yield


@contextmanager
def _told(part: Any, note: Callable[[Any], None]) -> Iterator[None]:
    before = vars(part).get("prepare_inputs_for_generation")
    prepare = part.prepare_inputs_for_generation

    @wraps(prepare)
    def prepared(input_ids: Any, *args: Any, **options: Any) -> Any:
        note(input_ids)
        return prepare(input_ids, *args, **options)

    part.prepare_inputs_for_generation = prepared
    try:
        yield
    finally:
        if before is None:
            del part.prepare_inputs_for_generation
        else:
            part.prepare_inputs_for_generation = before
