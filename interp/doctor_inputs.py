"""What a model or a source of studies would say if it were opened, without loading weights or reading all pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from interp.doctor import Finding
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations.models.inspection import CheckpointFacts

#: Studies that are really read.
N_STUDIES = 20
_BYTES = {"float32": 4, "bfloat16": 2}


def examine_model(name: str) -> Iterator[Finding]:
    """Whether a model's files are there and fit, what of it is code, and where it has room."""
    from activations.models.inspection import inspect_checkpoint

    if name.startswith("phantom"):
        yield Finding("ok", "model", f"{name}: embedded in the package")
        return
    try:
        facts = inspect_checkpoint(name)
    except InputError as error:
        yield Finding("fail", "model", str(error))
        return
    yield Finding("ok", "model", f"{facts.kind}, {facts.parameters / 1e6:,.1f} million parameters, {facts.files} files")
    if facts.fits:
        yield Finding(
            "ok", "weights", "every name and shape is what the architecture wants, none missing, none left over"
        )
    if facts.code is not None:
        yield Finding(
            "warn",
            "its own code",
            f"{facts.code} runs when the model is opened: read it, then give --trust-remote-code",
        )
    yield from _room(facts)


def _room(facts: CheckpointFacts) -> Iterator[Finding]:
    import torch

    from interp.doctor import available_memory_gb

    needs = {dtype: facts.parameters * size / 2**30 for dtype, size in _BYTES.items()}
    text = " or ".join(f"{gb:.1f} GiB as {dtype}" for dtype, gb in needs.items())
    places = [
        (f"GPU {i}", torch.cuda.get_device_properties(i).total_memory / 2**30) for i in range(torch.cuda.device_count())
    ]
    memory = available_memory_gb()
    if memory is not None:
        places.append(("main memory", memory))
    fitting = [
        f"{place} ({', '.join(d for d, gb in needs.items() if gb < room)})"
        for place, room in places
        if min(needs.values()) < room
    ]
    if fitting:
        yield Finding("ok", "room for it", f"the weights need {text}; they fit into {'; '.join(fitting)}")
    else:
        there = "; ".join(f"{place}: {room:.1f} GiB" for place, room in places)
        yield Finding(
            "fail", "room for it", f"the weights need {text}; there is {there}. --device-map auto joins devices"
        )


def examine_studies(spec: str) -> Iterator[Finding]:
    """Open a source and read its first studies with their pictures."""
    from radiology import open_studies

    try:
        source = open_studies(spec)
        studies = list(islice(iter(source), N_STUDIES))
        for study in studies:
            for name in study.images:
                study.pixels(name)
    except InputError as error:
        yield Finding("fail", "studies", str(error))
        return
    if not studies:
        yield Finding("fail", "studies", f"{spec}: {len(source)} listed, none of the first can be read")
    else:
        yield Finding(
            "ok", "studies", f"{spec}: {len(source)} listed, terms {source.terms}; of the first {len(studies)}:"
        )
        images = Counter(name for study in studies for name in study.images)
        parts = [f"{count} with {name}" for name, count in sorted(images.items())]
        parts += [
            f"{sum(getattr(s, field) is not None for s in studies)} with {field}" for field in ("report", "labels")
        ]
        yield Finding("ok", "", ", ".join(parts))
    for skipped in source.skipped[:5]:
        yield Finding("warn", "left out", str(skipped))
    if len(source.skipped) > 5:
        yield Finding("warn", "left out", f"and {len(source.skipped) - 5} more")
