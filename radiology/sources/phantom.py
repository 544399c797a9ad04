"""``phantom:n=2000,seed=0``: studies of the phantom chest, drawn on demand.

Arguments: ``n`` (number of studies), ``seed`` (0), ``start`` (first study, 0), and
``correlate=CAUSE>EFFECT:PROBABILITY``, which may come several times and plants a shortcut
(``correlate=pneumothorax_left>central_line:0.9``).
"""

from __future__ import annotations

from collections.abc import Iterator

from radiology.errors import InputError
from radiology.phantom.cases import phantom_case, phantom_studies
from radiology.sources.base import StudySource
from radiology.study import Study

_EXAMPLE = "phantom:n=2000,seed=0,start=0,correlate=pneumothorax_left>central_line:0.9"


class PhantomSource(StudySource):
    """Studies ``start`` … ``start + n − 1`` of the phantom series ``seed``."""

    def __init__(
        self, spec: str, n: int, seed: int, start: int, correlate: dict[tuple[str, str], float], strict: bool
    ) -> None:
        super().__init__(spec, "phantom", strict)
        self.n, self.seed, self.start, self.correlate = n, seed, start, correlate
        phantom_case(seed, start, correlate=correlate)  # a wrong correlation is an error now, not at the first study

    def __len__(self) -> int:
        return self.n

    def _studies(self) -> Iterator[Study]:
        return phantom_studies(self.n, self.seed, start=self.start, correlate=self.correlate)


def open_source(arguments: str, *, strict: bool) -> PhantomSource:
    """Read ``n=…,seed=…,start=…,correlate=…``."""
    spec = f"phantom:{arguments}"
    numbers = {"seed": 0, "start": 0}
    correlate: dict[tuple[str, str], float] = {}
    for argument in arguments.split(","):
        name, equals, value = (part.strip() for part in argument.partition("="))
        if not equals:
            raise InputError(f"studies {spec!r}: {argument!r} has no value; write e.g. {_EXAMPLE}")
        if name == "correlate":
            cause, effect, probability = _correlation(spec, value)
            correlate[cause, effect] = probability
        elif name in ("n", "seed", "start"):
            numbers[name] = _number(spec, name, value)
        else:
            raise InputError(f"studies {spec!r}: {name!r} is not an argument; there are n, seed, start, correlate")
    if numbers.get("n", 0) < 1:
        raise InputError(f"studies {spec!r}: n, the number of studies, must be 1 or more; write e.g. {_EXAMPLE}")
    return PhantomSource(spec, numbers["n"], numbers["seed"], numbers["start"], correlate, strict)


def _number(spec: str, name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise InputError(f"studies {spec!r}: {name}={value} must be a whole number, 0 or more")
    return int(value)


def _correlation(spec: str, value: str) -> tuple[str, str, float]:
    pair, _, probability = value.partition(":")
    cause, _, effect = pair.partition(">")
    try:
        return cause.strip(), effect.strip(), float(probability)
    except ValueError:
        raise InputError(
            f"studies {spec!r}: correlate={value} must be CAUSE>EFFECT:PROBABILITY; write e.g. {_EXAMPLE}"
        ) from None
