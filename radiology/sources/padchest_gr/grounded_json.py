"""The grounded reports of PadChest-GR: a JSON list of studies, each with its sentences.

``{StudyID, ImageID, PreviousImageID, findings: [{sentence_en, sentence_es, abnormal, boxes, extra_boxes, labels,
locations, progression}]}``; boxes are x0, y0, x1, y1 as shares of the image. Sentences that deny a finding often lack
the keys after ``abnormal``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radiology.errors import InputError
from radiology.sources.labels import concept_key
from radiology.study import Box, GroundedSentence

LANGUAGES = ("en", "es")
#: What rounding can add to a share; a box that is further outside is an error.
TOLERANCE = 1e-3

#: Told what is wrong: the field, as a path into the JSON, and the reason.
Report = Callable[[str, str], None]

_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class JsonEntry:
    """An element of the list: its number from 0, the ``line`` of the file it begins on, and its value."""

    number: int
    line: int
    value: Any

    @property
    def field(self) -> str:
        return f"[{self.number}]"


def read_json_list(path: Path) -> list[JsonEntry]:
    """Elements of a JSON list; InputError with file and line if it is not UTF-8, not JSON, or no list."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return list(_entries(path, text))
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; copy the file again") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: is not JSON ({error.msg}); copy the file again") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply for a list of studies") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({type(error).__name__})") from None


def _entries(path: Path, text: str) -> list[JsonEntry]:
    """Element by element, since a decoder of the whole forgets where each one stood."""
    decoder = json.JSONDecoder()
    position, line = _after_space(text, 0), 1
    if text[position : position + 1] != "[":
        raise InputError(f"{path}, line 1: is no list of studies; it must begin with '['")
    entries: list[JsonEntry] = []
    counted = 0
    position = _after_space(text, position + 1)
    while text[position : position + 1] != "]" or entries:
        line, counted = line + text.count("\n", counted, position), position
        value, position = decoder.raw_decode(text, position)
        entries.append(JsonEntry(len(entries), line, value))
        position = _after_space(text, position)
        if text[position : position + 1] == "]":
            break
        if text[position : position + 1] != ",":
            raise json.JSONDecodeError("expecting ',' or ']'", text, position)
        position = _after_space(text, position + 1)
    if _after_space(text, position + 1) != len(text):
        raise json.JSONDecodeError("extra data", text, position + 1)
    return entries


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def key_of(entry: Mapping[str, Any], *names: str) -> str | None:
    """An id under the first of these keys that holds one, in either case; a whole number becomes its digits."""
    by_name = {str(key).lower(): value for key, value in entry.items()}
    for name in names:
        value = by_name.get(name.lower())
        if isinstance(value, str) and value.strip():
            return value.strip()
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return None


def sentence_of(finding: Any, where: str, language: str, report: Report) -> GroundedSentence | None:
    """A sentence in ``language`` with all the source says of it; ``None``, and reported, if it has no such text."""
    if not isinstance(finding, Mapping):
        report(where, "is no object with the sentence and its boxes")
        return None
    translations = {
        one: text.strip()
        for one in LANGUAGES
        if isinstance(text := finding.get(f"sentence_{one}"), str) and text.strip()
    }
    if language not in translations:
        report(f"{where}.sentence_{language}", "is empty or no text")
        return None
    labels = _words(finding, "labels", where, report)
    progression = finding.get("progression")
    return GroundedSentence(
        text=translations[language],
        boxes=_boxes(finding, "boxes", where, report),
        label=next((key for label in labels if (key := concept_key(label))), None),
        extra_boxes=_boxes(finding, "extra_boxes", where, report),
        labels=labels,
        locations=_words(finding, "locations", where, report),
        progression=progression.strip() or None if isinstance(progression, str) else None,
        positive=_flag(finding, "abnormal", where, report),
        translations=translations,
    )


def joined(sentences: tuple[GroundedSentence, ...]) -> str | None:
    """The report: the sentences one after the other, each closed by a full stop; ``None`` if there are none."""
    closed = (one.text if one.text[-1] in ".!?;:" else f"{one.text}." for one in sentences)
    return " ".join(closed) or None


def _flag(finding: Mapping[str, Any], name: str, where: str, report: Report) -> bool | None:
    value = finding.get(name)
    known = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if value is not None and known is None:
        report(f"{where}.{name}", "is neither true nor false")
    return known


def _words(finding: Mapping[str, Any], name: str, where: str, report: Report) -> tuple[str, ...]:
    value = finding.get(name)
    if value is None:
        return ()
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        report(f"{where}.{name}", "is no list of words")
        return ()
    return tuple(word.strip() for word in words if word.strip())


def _boxes(finding: Mapping[str, Any], name: str, where: str, report: Report) -> tuple[Box, ...]:
    value = finding.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        report(f"{where}.{name}", "is no list of boxes")
        return ()
    boxes: list[Box] = []
    for number, corners in enumerate(value):
        box, problem = _box(corners)
        if box is None:
            report(f"{where}.{name}[{number}]", problem)
        else:
            boxes.append(box)
    return tuple(boxes)


def _box(corners: Any) -> tuple[Box | None, str]:
    """The box, brought into [0, 1] where rounding put it a hair outside; else what is wrong with it."""
    if not isinstance(corners, list) or len(corners) != 4:
        return None, "is not four numbers x0, y0, x1, y1"
    if not all(isinstance(share, (int, float)) and not isinstance(share, bool) for share in corners):
        return None, "is not four numbers x0, y0, x1, y1"
    if not all(math.isfinite(share) and -TOLERANCE <= share <= 1 + TOLERANCE for share in corners):
        return None, "is not within [0, 1]; boxes are shares of width and height"
    x0, y0, x1, y1 = (min(max(float(share), 0.0), 1.0) for share in corners)
    if x0 > x1 or y0 > y1:
        return None, "has its corners swapped: it must be x0 ≤ x1, y0 ≤ y1"
    return (x0, y0, x1, y1), ""
