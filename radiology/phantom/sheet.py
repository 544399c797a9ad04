"""A contact sheet: what the phantom draws, with captions, for a person to judge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from radiology.errors import InputError
from radiology.phantom.cases import draw_case, phantom_case
from radiology.phantom.factors import Factors, Nuisance, sample_factors, sample_nuisance
from radiology.phantom.render import render_frontal, render_lateral

CELL = 280
_CAPTION = 20
_COLUMNS = 6
_GREY_STEP = 4  # coarser greys make a smaller file

_SHOWN: tuple[tuple[str, Factors], ...] = (
    ("no finding", Factors()),
    ("effusion, small, right", Factors(effusion_right="small")),
    ("effusion, large, left", Factors(effusion_left="large")),
    ("cardiomegaly, mild", Factors(cardiomegaly="mild")),
    ("cardiomegaly, marked", Factors(cardiomegaly="marked")),
    ("pneumothorax, small, left", Factors(pneumothorax_left="small")),
    ("pneumothorax, large, right", Factors(pneumothorax_right="large")),
    ("consolidation, right lower", Factors(consolidation_right="lower")),
    (
        "consolidation, upper, subtle",
        Factors(consolidation_left="upper", subtle=frozenset({"consolidation_left"})),
    ),
    ("edema, mild", Factors(edema="mild")),
    ("edema, severe", Factors(edema="severe")),
    ("nodule, left mid", Factors(nodule_left="mid")),
    ("pacemaker", Factors(pacemaker=True)),
    ("endotracheal and gastric tube", Factors(endotracheal_tube=True, nasogastric_tube="placed")),
    ("gastric tube, misplaced", Factors(nasogastric_tube="misplaced")),
    ("central line", Factors(central_line=True)),
    ("sternotomy wires", Factors(sternotomy_wires=True)),
)
_LATERAL: tuple[tuple[str, Factors], ...] = (
    ("lateral, no finding", Factors()),
    ("lateral, effusion and nodule", Factors(effusion_left="small", nodule_right="upper")),
    ("lateral, pacemaker, cardiomegaly", Factors(pacemaker=True, cardiomegaly="marked")),
)


@dataclass(frozen=True)
class _Cell:
    caption: str
    image: np.ndarray


def contact_sheet(path: Path | str, n: int = 24, seed: int = 0) -> Path:
    """Write a captioned grid of ``n`` phantom pictures as PNG: every finding, laterals, a pair with a prior, then
    random cases. Returns the path written."""
    if n < 1:
        raise InputError(f"contact sheet: n is {n}; ask for at least one picture")
    path = Path(path)
    cells = _cells(seed)
    sheet = _compose([next(cells) for _ in range(n)]).point(
        lambda grey: min(255, round(grey / _GREY_STEP) * _GREY_STEP)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    sheet.save(temporary, format="PNG", optimize=True)
    temporary.replace(path)
    return path


def _cells(seed: int) -> Iterator[_Cell]:
    rng = np.random.default_rng(seed)
    for caption, factors in _SHOWN:
        nuisance = _calm(sample_nuisance(rng, factors))
        yield _Cell(f"{caption} ({nuisance.view})", render_frontal(factors, nuisance, CELL).image)
    for caption, factors in _LATERAL:
        yield _Cell(caption, render_lateral(factors, _calm(sample_nuisance(rng, factors)), CELL).image)
    yield from _prior_pairs(rng)
    index = 0
    while True:
        picture = draw_case(phantom_case(seed, index), CELL).frontal.image
        yield _Cell(f"random case {index}", picture)
        index += 1


def _prior_pairs(rng: np.random.Generator) -> Iterator[_Cell]:
    """Two patients, each before and after a change."""
    for caption, before, now in (
        ("edema", Factors(edema="severe", pacemaker=True), Factors(pacemaker=True)),
        ("effusion", Factors(effusion_right="small"), Factors(effusion_right="large", central_line=True)),
    ):
        person = _calm(sample_nuisance(rng, now))
        other = _calm(sample_nuisance(rng, sample_factors(rng)))
        earlier = replace(
            other, sex=person.sex, age=person.age, habitus=person.habitus, anatomy_seed=person.anatomy_seed
        )
        yield _Cell(f"{caption}: prior", render_frontal(before, earlier, CELL).image)
        yield _Cell(f"{caption}: now, same patient", render_frontal(now, person, CELL).image)


def _calm(nuisance: Nuisance) -> Nuisance:
    """Less noise and exposure error: the sheet is looked at, not learned from, and must stay a small file."""
    return replace(nuisance, noise=0.25 * nuisance.noise, exposure=0.5 * nuisance.exposure)


def _compose(cells: list[_Cell]) -> Image.Image:
    columns = min(_COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    sheet = Image.new("L", (columns * (CELL + 4) + 4, rows * (CELL + _CAPTION + 4) + 4), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, cell in enumerate(cells):
        left = 4 + number % columns * (CELL + 4)
        top = 4 + number // columns * (CELL + _CAPTION + 4)
        sheet.paste(Image.fromarray(cell.image), (left, top))
        pen.text((left + 3, top + CELL + 2), f"phantom · {cell.caption}", fill=0, font=font)
    return sheet
