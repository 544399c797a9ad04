"""Open-i as the National Library of Medicine hands it out: ``ecgen-radiology/*.xml``, a file a report.

The files are parsed with the standard library. A document type declaration, which is what entities that grow without
end or read other files need, is refused before anything of it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from radiology.sources.base import Skipped
from radiology.sources.openi.record import NamedImage, OpeniRecord, uid_number

#: A report is a few kilobytes.
MAX_BYTES = 4_000_000

_SECTIONS = {"COMPARISON": "comparison", "INDICATION": "indication", "FINDINGS": "findings", "IMPRESSION": "impression"}


class OpeniXml:
    """The XML files in the order of their numbers; each is read when its turn comes."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = sorted(paths, key=_natural)
        self.problems: list[Skipped] = []

    def __len__(self) -> int:
        return len(self._paths)

    def records(self, n: int | None) -> Iterator[OpeniRecord | Skipped]:
        """The first ``n`` reports, or why a file is none."""
        return map(read_report, self._paths[:n])

    def images_of_no_report(self) -> list[NamedImage]:
        """None: images are named by the reports themselves."""
        return []


def read_report(path: Path) -> OpeniRecord | Skipped:
    """One file as a record; else what is wrong with it, with the line where there is one."""
    root = parse_xml(path)
    if isinstance(root, Skipped):
        return root
    uid = next((element.get("id") for element in root.iter("uId")), None)
    if not (uid or "").strip():
        return Skipped(path, None, "uId", "is missing; a report has <uId id=…/>")
    sections: dict[str, str] = {}
    for element in root.iter("AbstractText"):
        name = _SECTIONS.get((element.get("Label") or "").strip().upper())
        text = _text(element)
        if name is not None and text:
            sections[name] = f"{sections[name]} {text}" if name in sections else text
    images = tuple(_images(path, root))
    if captions := list(dict.fromkeys(image.caption for image in images if image.caption)):
        sections["technique"] = "; ".join(captions)
    mesh = tuple(text for block in root.iter("MeSH") for major in block.iter("major") if (text := _text(major)))
    return OpeniRecord(uid_number(uid or ""), path, None, sections, mesh, images)


def parse_xml(path: Path) -> Element | Skipped:
    """The root element; Skipped if the file is too large, declares a document type, or is not well-formed."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return Skipped(path, None, None, f"has more than {MAX_BYTES:,} bytes, too many for a report")
        data = path.read_bytes()
    except OSError as error:
        return Skipped(path, None, None, f"cannot be opened ({type(error).__name__})")
    parser, builder = expat.ParserCreate(), TreeBuilder()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
        root: Element = builder.close()
    except _DoctypeError:
        return Skipped(
            path, parser.CurrentLineNumber, None, "declares a document type; remove it: entities are not trusted"
        )
    except expat.ExpatError as error:
        return Skipped(path, error.lineno, None, f"is not XML ({expat.ErrorString(error.code)}); copy the file again")
    except (LookupError, ValueError) as error:  # an encoding that expat does not know
        return Skipped(path, 1, None, f"cannot be decoded ({type(error).__name__}); save it as UTF-8")
    return root


class _DoctypeError(Exception):
    pass


def _refuse(*_: object) -> None:
    raise _DoctypeError


def _images(path: Path, root: Element) -> Iterator[NamedImage]:
    for element in root.iter("parentImage"):
        caption = next((_text(child) for child in element.iter("caption")), None)
        yield NamedImage((element.get("id") or "").strip(), path, None, "parentImage", None, caption or None)


def _text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _natural(path: Path) -> tuple[str, list[tuple[int, str]]]:
    """10.xml comes after 9.xml."""
    parts = re.findall(r"\d+|\D+", path.name)
    return str(path.parent), [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
