"""Which token each row of a site's output belongs to, at prefill and at every cached step.

A hook sees a bare tensor: (B, T, d) at prefill, (B, 1, d) at each cached step, (images, patches, d) inside the encoder.
:class:`Ledger` keeps the count, so that a hook knows study, position and role of every element; where the count cannot
be kept, it refuses with a message instead of steering something else.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from activations.hooks import is_image_site
from activations.models.base import ModelInputs
from activations.roles import IMAGE_NAMES, Role, TokenTable
from steering.errors import SteeringError

#: Role number of what is no token of the prompt: padding, the encoder's CLS.
NO_TOKEN = -1


@dataclass(frozen=True)
class Places:
    """What the elements of one output (b, s, d) are; all arrays have shape (b, s).

    Attributes:
        study: row of the element's study in the batch.
        slot: column of the element in the left-padded prompt, continued by one column a generated token.
        role: a ``Role`` or :data:`NO_TOKEN`.
        image, row, col: as in the token table, −1 for text.
        generated: belongs to the report (written or teacher-forced).
    """

    study: np.ndarray
    slot: np.ndarray
    role: np.ndarray
    image: np.ndarray
    row: np.ndarray
    col: np.ndarray
    generated: np.ndarray

    def __getitem__(self, index: object) -> Places:
        return Places(*(getattr(self, name)[index] for name in _NAMES))


_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Places))


def prompt_places(inputs: ModelInputs) -> Places:
    """Places of a whole left-padded batch, (B, T)."""
    width = int(inputs.input_ids_bt.shape[1])
    places = _imageless(len(inputs), 0, width, role=NO_TOKEN, generated=False)
    for i, (table, pad) in enumerate(zip(inputs.tokens, inputs.padding, strict=True)):
        for name in ("role", "image", "row", "col"):
            getattr(places, name)[i, pad:] = getattr(table, name)
        places.generated[i, pad:] = report_span(table)
    return places


def prompt_length(table: TokenTable) -> int:
    """Tokens before the teacher-forced report; all of them where there is none."""
    report = np.flatnonzero(table.role == Role.REPORT)
    return int(report[0]) if len(report) else len(table)


def report_span(table: TokenTable) -> np.ndarray:
    """From the first to the last report token, (n,) bool; box tokens in between are part of the report."""
    span = np.zeros(len(table), dtype=bool)
    report = np.flatnonzero(table.role == Role.REPORT)
    if len(report):
        span[report[0] : report[-1] + 1] = True
    return span


class Ledger:
    """Keeps the count of one site through one call of ``generate`` or ``forward``.

    Beams and sampled copies are rows next to each other that continue the same study; swapping beams moves whole rows
    among one study's, and since a change depends on study, position and residual only, it stays right.

    Attributes:
        calls: outputs counted so far.
        by_image: a row of the output is an image, not a study or beam.
    """

    def __init__(self, site: str, inputs: ModelInputs) -> None:
        self.site = site
        self.calls = 0
        self._prompt = prompt_places(inputs)
        self.by_image = is_image_site(site)
        self._seen = 0
        self._copies = 0

    @property
    def width(self) -> int:
        """Columns of the padded prompt."""
        return int(self._prompt.role.shape[1])

    @property
    def copies(self) -> int:
        """Rows a study: beams, or 1."""
        return max(self._copies, 1)

    def next(self, shape: tuple[int, ...]) -> Places:
        """Places of the output that is being made now, (b, s).

        Raises:
            SteeringError: an output whose tokens cannot be told.
        """
        return self.places(shape, self.count(shape))

    def count(self, shape: tuple[int, ...]) -> int:
        """Count the output that is being made now, without looking at its tokens: the first of its columns.

        Raises:
            SteeringError: an output whose tokens cannot be told.
        """
        if len(shape) != 3:
            raise SteeringError(f"site {self.site}: output of shape {shape}; (rows, tokens, width) can be steered")
        start = 0 if self.by_image else self._language_start(shape)
        self.calls += 1
        return start

    def places(self, shape: tuple[int, ...], start: int) -> Places:
        """Places of the output that was just counted, (b, s)."""
        if self.by_image:
            return self._image_places(shape)
        return _repeat(_columns(self._prompt, start, start + shape[1]), self._copies)

    def _language_start(self, shape: tuple[int, ...]) -> int:
        rows, columns = shape[:2]
        studies = self._prompt.role.shape[0]
        if rows % studies or (self._copies and rows != studies * self._copies):
            raise SteeringError(f"site {self.site}: {rows} rows for {studies} studies; rows cannot be told apart")
        if not self._seen and columns != self.width:
            raise SteeringError(
                f"site {self.site}: the prompt of {self.width} columns arrived in a piece of {columns}; switch chunked "
                "prefill and prompt caching off while steering"
            )
        start = self._start(columns)
        self._copies, self._seen = rows // studies, start + columns
        return start

    def _start(self, columns: int) -> int:
        if not self._seen or columns == self._seen + 1:
            return 0  # the prompt, or the whole text again because there is no cache
        if columns == 1:
            return self._seen
        raise SteeringError(
            f"site {self.site}: {columns} tokens in one step after {self._seen}; steering follows prefill and "
            "steps of one token (switch assisted decoding off)"
        )

    def _image_places(self, shape: tuple[int, ...]) -> Places:
        patches = self._prompt[self._prompt.role == Role.IMAGE]  # in the order of the images' placeholders
        images, per_image = _image_count(patches), 0
        if images and len(patches.role) % images == 0:
            per_image = len(patches.role) // images
        if not per_image or shape[0] != images or shape[1] - per_image not in (0, 1):
            raise SteeringError(
                f"site {self.site}: output {shape} for {images} images with {len(patches.role)} patch tokens; with "
                "beams, or images of different grids, steer at a language site"
            )
        self._copies = 1
        return _with_cls(patches, images, per_image, shape[1] - per_image)


def _image_count(patches: Places) -> int:
    return len(set(zip(patches.study.tolist(), patches.image.tolist(), strict=True)))


def _imageless(studies: int, start: int, stop: int, *, role: int, generated: bool) -> Places:
    """Places (studies, stop − start) of columns start … stop, all of one role."""
    shape = (studies, stop - start)
    image, row, col = (np.full(shape, -1, dtype=np.int16) for _ in range(3))
    return Places(
        study=np.repeat(np.arange(studies)[:, None], stop - start, axis=1),
        slot=np.repeat(np.arange(start, stop)[None], studies, axis=0),
        role=np.full(shape, role, dtype=np.int16),
        image=image,
        row=row,
        col=col,
        generated=np.full(shape, generated),
    )


def _with_cls(patches: Places, images: int, per_image: int, lead: int) -> Places:
    """Patches (n,) → (images, lead + per_image); leading tokens of the encoder are no token of the prompt."""

    def table(name: str) -> np.ndarray:
        values = getattr(patches, name).reshape(images, per_image)
        return np.pad(values, ((0, 0), (lead, 0)), constant_values=-1)

    study = np.repeat(patches.study.reshape(images, per_image)[:, :1], lead + per_image, axis=1)
    return Places(
        study=study,
        slot=table("slot"),
        role=table("role"),
        image=table("image"),
        row=table("row"),
        col=table("col"),
        generated=np.zeros(study.shape, dtype=bool),
    )


def _columns(prompt: Places, start: int, stop: int) -> Places:
    """Columns start … stop; those after the prompt are generated report tokens."""
    studies, width = prompt.role.shape
    inside = prompt[:, start : min(stop, width)]
    if stop <= width:
        return inside
    written = _imageless(studies, max(start, width), stop, role=Role.REPORT, generated=True)
    return Places(*(np.concatenate([getattr(inside, n), getattr(written, n)], axis=1) for n in _NAMES))


def _repeat(places: Places, copies: int) -> Places:
    if copies == 1:
        return places
    return Places(*(np.repeat(getattr(places, name), copies, axis=0) for name in _NAMES))


def image_number(name: str) -> int:
    """Number of an image in token tables.

    Raises:
        SteeringError: an unknown image name.
    """
    if name not in IMAGE_NAMES:
        raise SteeringError(f"tokens.image: {name!r} is not one of {list(IMAGE_NAMES)}")
    return IMAGE_NAMES.index(name)
