"""Which of the elements of an output an intervention acts on, and how strongly."""

from __future__ import annotations

import numpy as np

from activations.models.base import ModelInputs
from activations.roles import Role
from steering.interventions.gates import Gate
from steering.interventions.grids import on_grid, table_for
from steering.interventions.patterns import lies_in_match, names_finding, sentence_so_far
from steering.interventions.positions import NO_TOKEN, Places, image_number, prompt_length
from steering.interventions.schedules import Schedule
from steering.interventions.spec import Intervention, Tokens, conditional
from steering.interventions.transcript import Reading, Transcript

#: Roles that ``prompt.text`` steers: everything of the prompt but images and special tokens.
TEXT_ROLES: tuple[Role, ...] = (Role.TEMPLATE, Role.INDICATION, Role.TECHNIQUE, Role.COMPARISON, Role.PRIOR_REPORT)
_TEXT = [int(role) for role in TEXT_ROLES]


def select(places: Places, tokens: Tokens, grid: tuple[int, int], mask: np.ndarray | None = None) -> np.ndarray:
    """Elements in scope, (b, s) bool; patterns and words are not looked at.

    Args:
        mask: the mask of the tokens for this batch (see :func:`steering.interventions.grids.table_for`); by default the
            one in ``tokens``, which must then be one for all studies.
    """
    chosen = np.zeros(places.role.shape, dtype=bool)
    if "prompt.image" in tokens.scopes:
        if mask is None and tokens.mask is not None:
            mask = table_for(tokens.mask, (), "tokens.mask")
        chosen |= _patches(places, tokens, grid, mask)
    if "prompt.text" in tokens.scopes:
        chosen |= np.isin(places.role, _TEXT) & ~places.generated
    if "generated" in tokens.scopes:
        chosen |= places.generated
    return chosen & (places.role != NO_TOKEN)


def _patches(places: Places, tokens: Tokens, grid: tuple[int, int], mask: np.ndarray | None) -> np.ndarray:
    chosen: np.ndarray = places.role == Role.IMAGE
    if tokens.image is not None:
        chosen &= places.image == image_number(tokens.image)
    if mask is not None:
        chosen &= on_grid(mask, places) > 0
    if tokens.box is not None:
        x0, y0, x1, y1 = tokens.box
        x, y = (places.col + 0.5) / grid[1], (places.row + 0.5) / grid[0]
        chosen &= (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    return chosen


class Choice:
    """One resolved intervention's choice of tokens in one batch.

    Attributes:
        on_steps: whether it can act on tokens that are being written.
        plain_on_steps: whether it acts on all of them alike.
        conditional: whether it may rightly find no token at all.
    """

    def __init__(
        self, part: Intervention, inputs: ModelInputs, grid: tuple[int, int], transcript: Transcript | None
    ) -> None:
        assert part.tokens is not None
        self._tokens: Tokens = part.tokens
        self._gate = part.gate if part.gate is not None and part.gate.reads_text else None
        self._schedule = part.schedule
        self._grid = grid
        self._transcript = transcript
        mask = self._tokens.mask
        self._mask = None if mask is None else table_for(mask, inputs.study_ids, "tokens.mask")
        self._first_b = np.array(
            [pad + prompt_length(table) for pad, table in zip(inputs.padding, inputs.tokens, strict=True)]
        )
        self.on_steps = "generated" in self._tokens.scopes
        self.plain_on_steps = self._schedule is None and not reads_text(part)
        self.conditional = conditional(part)

    def weights(self, places: Places) -> tuple[np.ndarray, np.ndarray | None]:
        """Weight of the change of every element, (b, s) float32, 0 where it does not act.

        Also, where a gate reads text and activations, what its text says, (b, s) bool.
        """
        chosen = select(places, self._tokens, self._grid, self._mask)
        schedule, opens = self._schedule, None
        readings = self._readings(places, chosen)
        if self._tokens.reads_text:
            chosen &= (places.role == Role.IMAGE) | _where(readings, chosen, self._matches)
        if self._gate is not None:
            opens = _where(readings, chosen, lambda reading: _holds(self._gate, reading))
            if self._gate.feature is None:
                chosen &= opens ^ self._gate.negate
                opens = None
        weights = chosen.astype(np.float32)
        if schedule is not None:
            weights *= self._scheduled(schedule, places, chosen, readings)
        return weights, opens

    def _scheduled(
        self, schedule: Schedule, places: Places, chosen: np.ndarray, readings: dict[tuple[int, int], Reading]
    ) -> np.ndarray:
        number = places.slot - self._first_b[places.study]
        weights = np.where(places.generated, schedule.weights(number), 1).astype(np.float32)
        until = schedule.until
        if until is not None:
            named = _where(readings, chosen, lambda reading: names_finding(reading.text, until))
            weights[named & places.generated] = 0
        return weights

    def _readings(self, places: Places, chosen: np.ndarray) -> dict[tuple[int, int], Reading]:
        if self._transcript is None:
            return {}
        return self._transcript.readings(places, chosen)

    def _matches(self, reading: Reading) -> bool:
        return any(lies_in_match(pattern, reading.whole, reading.span) for pattern in self._tokens.patterns)


def reads_text(part: Intervention) -> bool:
    """Whether a resolved intervention needs a transcript."""
    assert part.tokens is not None
    gate, schedule = part.gate, part.schedule
    by_gate, by_schedule = gate is not None and gate.reads_text, schedule is not None and schedule.until is not None
    return part.tokens.reads_text or by_gate or by_schedule


def _where(readings: dict[tuple[int, int], Reading], like: np.ndarray, holds: object) -> np.ndarray:
    """Elements whose reading meets a condition, (b, s) bool."""
    assert callable(holds)
    out = np.zeros(like.shape, dtype=bool)
    for place, reading in readings.items():
        out[place] = holds(reading)
    return out


def _holds(gate: Gate | None, reading: Reading) -> bool:
    import re

    assert gate is not None
    sentence = sentence_so_far(reading.text)
    about = gate.topic is None or names_finding(sentence, gate.topic)
    return about and (gate.pattern is None or re.search(gate.pattern, sentence) is not None)
