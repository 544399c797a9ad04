"""Which tokens are steered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from steering.errors import SteeringError
from steering.interventions.grids import Grids, as_grids
from steering.interventions.kinds import check_one_of
from steering.interventions.patterns import check_pattern, word_pattern

SCOPES: tuple[str, ...] = ("prompt.image", "prompt.text", "generated")


@dataclass(frozen=True)
class Tokens:
    """Which tokens are steered.

    ``prompt.image``: patches; ``prompt.text``: template and sections of the prompt, without special tokens (the first
    token is an attention sink); ``generated``: the report as it is written (or as it is teacher-forced). The residual
    that chooses the first word of the report belongs to the last token of the prompt, that is to ``prompt.text``.

    Args:
        scopes: one or more of :data:`SCOPES`, or ``all``.
        image: only patches of this image (``frontal``, ``lateral``, ``prior_frontal``).
        box: only patches whose centre lies in this box, x0 y0 x1 y1 as fractions of the image.
        mask: only patches where this (rows, columns) mask is not zero; a mapping from study id to mask lets the region
            follow each study.
        pattern: of the text, only tokens inside a match of this regular expression. A section of the prompt is read as
            a whole; of the report the text up to and including the token is read, so that of a phrase the token that
            completes it is steered, and what prolongs the match.
        words: the same for whole words or phrases in any case. With a pattern, too, either is enough.
    """

    scopes: tuple[str, ...] = ("prompt.image",)
    image: str | None = None
    box: tuple[float, float, float, float] | None = None
    mask: Grids | None = None
    pattern: str | None = None
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = (self.scopes,) if isinstance(self.scopes, str) else tuple(self.scopes)
        scopes = SCOPES if given == ("all",) else given
        for scope in scopes:
            check_one_of("tokens.scopes", scope, (*SCOPES, "all"))
        if not scopes or "all" in scopes:
            raise SteeringError(f"tokens.scopes: {list(given)}; give 'all' alone or some of {list(SCOPES)}")
        object.__setattr__(self, "scopes", tuple(scope for scope in SCOPES if scope in scopes))
        if self.mask is not None:
            object.__setattr__(self, "mask", as_grids(self.mask, "tokens.mask"))
        if self.box is not None:
            object.__setattr__(self, "box", _checked_box(self.box))
        if (self.image or self.box or self.mask) and "prompt.image" not in self.scopes:
            raise SteeringError("tokens: image, box and mask choose among patches; add the scope prompt.image")
        self._check_text()

    def _check_text(self) -> None:
        words = (self.words,) if isinstance(self.words, str) else tuple(self.words)
        if not all(isinstance(word, str) and word.strip() for word in words):
            raise SteeringError(f"tokens.words: {list(words)}; words or phrases are needed")
        object.__setattr__(self, "words", words)
        if self.pattern is not None:
            check_pattern("tokens.pattern", self.pattern)
        if self.reads_text and self.scopes == ("prompt.image",):
            raise SteeringError(
                "tokens: pattern and words choose among text; add the scope prompt.text or generated, or both"
            )

    @property
    def reads_text(self) -> bool:
        return self.pattern is not None or bool(self.words)

    @property
    def patterns(self) -> tuple[str, ...]:
        """What text is searched for: the pattern and the words as one."""
        words = (word_pattern(self.words),) if self.words else ()
        return words if self.pattern is None else (self.pattern, *words)


def _checked_box(box: Sequence[float]) -> tuple[float, float, float, float]:
    try:
        values = tuple(float(value) for value in box)
    except (TypeError, ValueError):
        values = ()
    if (
        len(values) != 4
        or not all(0 <= value <= 1 for value in values)
        or values[0] >= values[2]
        or values[1] >= values[3]
    ):
        raise SteeringError(f"tokens.box: {box!r}; needs x0 y0 x1 y1 with 0 ≤ x0 < x1 ≤ 1 and 0 ≤ y0 < y1 ≤ 1")
    return values[0], values[1], values[2], values[3]
