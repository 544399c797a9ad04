"""Reading reports of one side of a comparison from CSV or JSON.

A study is named by ``study_id`` or ``example_id``; its report is one of

- text: ``report``, ``findings``, ``text`` or ``findings_text`` (CSV or JSON);
- both sides in one file: ``prediction`` and ``target``, or ``candidate`` and ``reference``;
- phrases with or without boxes (JSON): a list of strings or of ``{"text", "boxes"}``, as a report or as ``phrases``;
- RadFact's parsed reports (JSON): ``findings_text`` and ``parsed_report.sentence_list[].new``;
- RadFact's pairs of phrase lists (JSON): ``input.phrases_A`` (candidate) and ``input.phrases_B`` (reference);
- rows of LUNGUAGE (CSV): one row a finding, with ``ent`` and ``dx_status``.

``patient_id`` (or ``subject_id``) and ``sequence`` may stand beside the study. Names may be in upper or lower case.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from radiology.errors import InputError
from radiology.metrics.phrases import GroundedPhrase
from radiology.metrics.reports import ReportText
from radiology.paths import shown
from radiology.sources.csv_rows import CsvRow, header_of, iterate_csv
from radiology.sources.table import RowProblem
from radiology.structured import StructuredFinding, whole_number

Side = Literal["candidate", "reference"]
_ID = ("study_id", "example_id")
_TEXT = ("report", "findings", "text", "findings_text")
_PATIENT = ("patient_id", "subject_id")
_SIDES: dict[Side, tuple[str, ...]] = {"candidate": ("prediction", "candidate"), "reference": ("target", "reference")}
_PHRASE_LISTS: dict[Side, str] = {"candidate": "phrases_a", "reference": "phrases_b"}
_HISTORY = "hist"


@dataclass(frozen=True)
class ReportFile:
    """The reports of one side, by study in the order of the file, and the rows that are none.

    ``both_sides``: the file holds candidate and reference.
    """

    path: Path
    reports: Mapping[str, ReportText]
    problems: tuple[RowProblem, ...]
    both_sides: bool


class _BadRowError(Exception):
    """A row that is no report: the field and what is wrong with it."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.field, self.reason = field, reason


def read_reports(path: str | Path, side: Side) -> ReportFile:
    """The reports of one side.

    Raises:
        InputError: the file cannot be opened or read as what its name says, or holds no report that can be used.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"reports {shown(path)}: there is no such file")
    names = path.name.lower().removesuffix(".gz")
    if names.endswith((".json", ".jsonl")):
        found = _read_json(path, side)
    elif names.endswith((".csv", ".tsv")):
        found = _read_csv(path, side)
    else:
        raise InputError(f"reports {shown(path)}: must be .csv, .json or .jsonl (.csv.gz too)")
    if not found.reports:
        first = f"; first, {_row_name(found.problems[0])}" if found.problems else ""
        raise InputError(f"reports {shown(path)}: holds no report that can be used{first}")
    return found


def describe_problem(path: Path, problem: RowProblem) -> str:
    """File, row, field and reason; never a value."""
    return f"{shown(path)}, {_row_name(problem)}"


def _row_name(problem: RowProblem) -> str:
    field = f", field {problem.field!r}" if problem.field else ""
    return f"row {problem.row}{field}: {problem.reason}"


def _gather(path: Path, made: Iterator[ReportText | RowProblem], rows: Callable[[], int], both: bool) -> ReportFile:
    reports: dict[str, ReportText] = {}
    problems: list[RowProblem] = []
    for report in made:
        if isinstance(report, RowProblem):
            problems.append(report)
        elif report.study_id in reports:
            problems.append(RowProblem(rows(), "study_id", "stands in an earlier row too; that one is used"))
        else:
            reports[report.study_id] = report
    return ReportFile(path, reports, tuple(problems), both)


def _read_csv(path: Path, side: Side) -> ReportFile:
    header = header_of(path)
    if header.place("ent", "entity") is not None and header.place("dx_status") is not None:
        return _read_rows(path)
    id_column = next((name for name in _ID if header.place(name) is not None), None)
    both = header.place(*_SIDES["candidate"]) is not None and header.place(*_SIDES["reference"]) is not None
    texts = _SIDES[side] if both else _TEXT
    if header.place(*texts) is None:
        raise InputError(f"reports {shown(path)}: has no column {' or '.join(texts)}; is there a header?")
    if id_column is None:
        raise InputError(f"reports {shown(path)}: has no column {' or '.join(_ID)}; is there a header?")
    line = 1

    def made() -> Iterator[ReportText | RowProblem]:
        nonlocal line
        for row in iterate_csv(path, [(id_column,)]):
            line = row.row if isinstance(row, RowProblem) else row.line
            if isinstance(row, RowProblem):
                yield row
                continue
            try:
                yield _report_of_row(row, id_column, texts)
            except _BadRowError as bad:
                yield RowProblem(row.line, bad.field, bad.reason)

    return _gather(path, made(), lambda: line, both)


def _report_of_row(row: CsvRow, id_column: str, texts: tuple[str, ...]) -> ReportText:
    study_id = row.get(id_column)
    if study_id is None:
        raise _BadRowError(id_column, "is empty")
    text = row.get(*texts)
    if text is None:
        raise _BadRowError(next(name for name in texts if row.header.place(name) is not None), "is empty")
    return ReportText(study_id, text, patient_id=row.get(*_PATIENT), sequence=_sequence(row.get("sequence")))


def _read_rows(path: Path) -> ReportFile:
    """Rows of LUNGUAGE gathered by study; those of the history section are no findings of the image."""
    rows: dict[str, list[StructuredFinding]] = {}
    patients: dict[str, str | None] = {}
    problems: list[RowProblem] = []
    for row in iterate_csv(path, [("study_id",), ("ent", "entity")]):
        if isinstance(row, RowProblem):
            problems.append(row)
            continue
        try:
            finding = StructuredFinding.from_row(row.as_dict())
        except InputError as error:
            problems.append(RowProblem(row.line, None, str(error).removeprefix("structured finding: ")))
            continue
        found = rows.setdefault(finding.study_id, [])
        patients[finding.study_id] = row.get(*_PATIENT)
        if (finding.section or "").lower() != _HISTORY:
            found.append(finding)
    reports = {}
    for study_id, found in rows.items():
        text = " ".join(dict.fromkeys(row.sent for row in found if row.sent))
        sequence = found[0].sequence if found else None
        reports[study_id] = ReportText(study_id, text, None, tuple(found), patients[study_id], sequence)
    return ReportFile(path, reports, tuple(problems), both_sides=False)


def _read_json(path: Path, side: Side) -> ReportFile:
    items = _items(path)
    number = 0
    both = any(_has_both(item) for item in items if isinstance(item, dict))

    def made() -> Iterator[ReportText | RowProblem]:
        nonlocal number
        for number, item in enumerate(items, start=1):
            try:
                yield _report_of_item(item, side)
            except _BadRowError as bad:
                yield RowProblem(number, bad.field, bad.reason)

    return _gather(path, made(), lambda: number, both)


def _items(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        content = json.loads(text)
    except UnicodeDecodeError:
        raise InputError(f"reports {shown(path)}: is not UTF-8 text") from None
    except ValueError as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"reports {shown(path)}{where}: is not JSON") from None
    if isinstance(content, dict):  # study → report
        return [{"study_id": key, "report": value} for key, value in content.items()]
    if not isinstance(content, list):
        raise InputError(f"reports {shown(path)}: must be a list of reports, or an object of study to report")
    return content


def _has_both(item: dict[str, Any]) -> bool:
    names = {name.lower() for name in item}
    if isinstance(item.get("input"), dict):
        return True
    return all(names & set(_SIDES[side]) for side in _SIDES)


def _report_of_item(item: Any, side: Side) -> ReportText:
    if not isinstance(item, dict):
        raise _BadRowError(None, "is no object")
    fields = {str(name).lower(): value for name, value in item.items()}
    study_id = next((fields[name] for name in _ID if fields.get(name) not in (None, "", "nan")), None)
    if study_id is None or isinstance(study_id, dict | list):
        raise _BadRowError("study_id", "is missing")
    patient = next((str(fields[name]) for name in _PATIENT if fields.get(name) is not None), None)
    name, content = _content(fields, side)
    text, phrases = _text_and_phrases(name, content)
    parsed = fields.get("parsed_report")
    if isinstance(parsed, dict):
        phrases = _parsed_phrases(parsed)
    sequence = fields.get("sequence")
    return ReportText(
        str(study_id),
        text,
        phrases,
        patient_id=patient,
        sequence=_sequence(None if sequence is None else str(sequence)),
    )


def _content(fields: dict[str, Any], side: Side) -> tuple[str, Any]:
    """The field that holds this side's report, and what it holds."""
    lists = fields.get("input")
    if isinstance(lists, dict):
        lowered = {str(name).lower(): value for name, value in lists.items()}
        return f"input.{_PHRASE_LISTS[side]}", lowered.get(_PHRASE_LISTS[side])
    names = (*_SIDES[side], "phrases", *_TEXT) if _has_both(fields) else ("phrases", *_TEXT)
    for name in names:
        if fields.get(name) is not None:
            return name, fields[name]
    raise _BadRowError(names[0] if _has_both(fields) else "report", "is missing")


def _text_and_phrases(name: str, content: Any) -> tuple[str, tuple[GroundedPhrase, ...] | None]:
    if isinstance(content, str):
        if not content.strip():
            raise _BadRowError(name, "is empty")
        return content.strip(), None
    if not isinstance(content, list):
        raise _BadRowError(name, "is neither text nor a list of phrases")
    phrases = tuple(_phrase(name, item) for item in content)
    return " ".join(phrase.text for phrase in phrases), phrases


def _phrase(name: str, item: Any) -> GroundedPhrase:
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise _BadRowError(name, "holds a phrase without 'text'")
    boxes = item.get("boxes")
    try:
        return GroundedPhrase(item["text"], None if boxes is None else tuple(_box(box) for box in boxes))
    except InputError as error:
        raise _BadRowError(name, str(error)) from None
    except (TypeError, KeyError, ValueError):
        raise _BadRowError(name, "holds a box that is neither x_min, y_min, x_max, y_max nor four numbers") from None


def _box(box: Any) -> tuple[float, float, float, float]:
    corners = [box[key] for key in ("x_min", "y_min", "x_max", "y_max")] if isinstance(box, dict) else box
    x0, y0, x1, y1 = (float(corner) for corner in corners)
    return (x0, y0, x1, y1)


def _parsed_phrases(parsed: dict[str, Any]) -> tuple[GroundedPhrase, ...]:
    """The phrases of RadFact's parsed reports; a sentence that says nothing about the image has an empty one."""
    try:
        texts = [phrase for sentence in parsed["sentence_list"] for phrase in sentence["new"]]
        return tuple(GroundedPhrase(text) for text in texts if text.strip())
    except (KeyError, TypeError, AttributeError):
        raise _BadRowError("parsed_report", "has no sentence_list of objects with a list 'new'") from None


def _sequence(text: str | None) -> int | None:
    try:
        return whole_number("sequence", (text or "").strip())
    except InputError:
        raise _BadRowError("sequence", "must be a whole number") from None
