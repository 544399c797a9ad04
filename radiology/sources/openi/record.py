"""A report of Open-i in one form, whichever of the two layouts it comes from, and what becomes of its MeSH terms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from radiology.sources.labels import concept_key
from radiology.study import Status

_FRONTAL = re.compile(r"\b(pa|ap|frontal|posteroanterior|anteroposterior)\b", re.IGNORECASE)
_LATERAL = re.compile(r"\b(lateral|lat)\b", re.IGNORECASE)


@dataclass(frozen=True)
class NamedImage:
    """An image as the report names it, where, and what is known of its view (``projection`` frontal or lateral)."""

    name: str
    file: Path
    line: int | None
    field: str
    projection: str | None = None
    caption: str | None = None


@dataclass(frozen=True)
class OpeniRecord:
    """One report: ``uid`` with its number only, where it stands, sections by name, MeSH terms, images."""

    uid: str
    file: Path
    line: int | None
    sections: dict[str, str]
    mesh: tuple[str, ...] = ()
    images: tuple[NamedImage, ...] = field(default=())


@dataclass(frozen=True)
class Views:
    """The frontal and lateral image of a report, ``source`` of that knowledge, and the images that are neither."""

    chosen: dict[str, NamedImage]
    source: str
    left_over: int


def uid_number(text: str) -> str:
    """``CXR12`` and ``12`` are the same report."""
    return text.strip().removeprefix("CXR").removeprefix("cxr")


def choose_views(images: Sequence[NamedImage]) -> Views:
    """Which image is the frontal and which the lateral.

    A projection (table) or a caption that names one view decides. Where captions name both ("PA and lateral", said of
    the study and not of the image), the first image is taken as frontal and the second as lateral; where they name none
    the first is taken as frontal. ``source`` is ``projection``, ``caption`` or, for such a guess, ``order``.
    """
    chosen: dict[str, NamedImage] = {}
    sources: list[str] = []
    for image in images:
        view, source = _view_of(image, chosen)
        if view is not None and view not in chosen:
            chosen[view] = image
            sources.append(source)
    source = next((one for one in ("order", "caption", "projection") if one in sources), "order")
    return Views(chosen, source, len(images) - len(chosen))


def _view_of(image: NamedImage, chosen: dict[str, NamedImage]) -> tuple[str | None, str]:
    if image.projection is not None:
        return image.projection, "projection"
    caption = image.caption or ""
    frontal, lateral = bool(_FRONTAL.search(caption)), bool(_LATERAL.search(caption))
    if frontal != lateral:
        return ("frontal" if frontal else "lateral"), "caption"
    if "frontal" not in chosen:
        return "frontal", "order"
    return ("lateral" if frontal else None), "order"


def view_word(captions: Iterable[str | None]) -> str:
    """View of the frontal image for the metadata: PA or AP where the captions name just one of them."""
    words = {word.upper() for caption in captions for word in _FRONTAL.findall(caption or "")} & {"PA", "AP"}
    return words.pop() if len(words) == 1 else "frontal"


def mesh_statements(terms: Iterable[str]) -> Iterator[tuple[str, Status]]:
    """Findings of MeSH terms such as ``Pleural Effusion/right/small``; a term is only given for what is there.

    ``normal`` and ``No Indexing`` are words that the vocabulary does not know, so nothing comes of them.
    """
    for term in terms:
        heading = term.split("/")[0].strip()
        turned = " ".join(reversed([part.strip() for part in heading.split(",")]))  # "Hernia, Hiatal"
        key = concept_key(heading, turned)
        if key is not None:
            yield key, "present"
