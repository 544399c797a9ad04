"""One structured finding of a report: a row of LUNGUAGE (arXiv 2505.21190), with nothing of the row lost.

A report is a list of such rows, one for each finding of each sentence. Columns that are no attribute of the schema
(``subject_id``, the text of the section, an index) stay in ``extra`` under their own names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.study import Status

#: Field → the names of its column, the one that is written first. LUNGUAGE writes some with a space; its scorer and its
#: structured predictions say ``episode`` and ``entity``.
COLUMNS: dict[str, tuple[str, ...]] = {
    "study_id": ("study_id",),
    "sequence": ("sequence",),
    "section": ("section",),
    "sent_idx": ("sent_idx",),
    "sent": ("sent", "sentence"),
    "ent_idx": ("ent_idx",),
    "ent": ("ent", "entity"),
    "cat": ("cat",),
    "dx_status": ("dx_status",),
    "dx_certainty": ("dx_certainty",),
    "location": ("location",),
    "associate": ("associate",),
    "evidence": ("evidence",),
    "morphology": ("morphology",),
    "distribution": ("distribution",),
    "measurement": ("measurement",),
    "severity": ("severity",),
    "comparison": ("comparison",),
    "onset": ("onset",),
    "no_change": ("no change", "no_change"),
    "improved": ("improved",),
    "worsened": ("worsened",),
    "placement": ("placement",),
    "past_hx": ("past hx", "past_hx"),
    "other_source": ("other source", "other_source"),
    "assessment_limitations": ("assessment limitations", "assessment_limitations"),
    "entity_group": ("entity_group",),
    "temporal_group": ("temporal_group", "episode"),
}

_FIELD_OF = {column: name for name, columns in COLUMNS.items() for column in columns}
_NUMBERS = ("sequence", "sent_idx", "ent_idx")


@dataclass(frozen=True)
class StructuredFinding:
    """A finding in one sentence and what the sentence says of it; an empty cell is ``None``.

    ``dx_status`` is positive or negative, ``dx_certainty`` definitive or tentative. ``cat`` is the kind of entity: PF
    and CF are seen in the image, OTH are devices and other objects, COF, NCD and PATIENT INFO come from elsewhere.
    ``associate`` and ``evidence`` name other entities of the report by their ``ent_idx``. ``sequence`` numbers the
    studies of a patient; ``entity_group`` and ``temporal_group`` tie findings of several studies together.
    """

    study_id: str
    ent: str
    section: str | None = None
    sequence: int | None = None
    sent_idx: int | None = None
    sent: str | None = None
    ent_idx: int | None = None
    cat: str | None = None
    dx_status: str | None = None
    dx_certainty: str | None = None
    location: str | None = None
    associate: str | None = None
    evidence: str | None = None
    morphology: str | None = None
    distribution: str | None = None
    measurement: str | None = None
    severity: str | None = None
    comparison: str | None = None
    onset: str | None = None
    no_change: str | None = None
    improved: str | None = None
    worsened: str | None = None
    placement: str | None = None
    past_hx: str | None = None
    other_source: str | None = None
    assessment_limitations: str | None = None
    entity_group: str | None = None
    temporal_group: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)

    @staticmethod
    def from_row(row: Mapping[str, str | None]) -> StructuredFinding:
        """The finding in a row (column → cell); names of columns in upper or lower case, cells without spaces around.

        Raises InputError, which names the column and not the cell, if ``study_id`` or ``ent`` is missing or empty, a
        number is none, or two columns mean the same.
        """
        values: dict[str, Any] = {}
        extra: dict[str, str] = {}
        for column, cell in row.items():
            text = (cell or "").strip()
            name = _FIELD_OF.get(column.strip().lower())
            if name is None:
                extra[column] = text
            elif name in values:
                raise InputError(f"structured finding: two columns hold {name!r}; keep one of {list(COLUMNS[name])}")
            else:
                values[name] = whole_number(column, text) if name in _NUMBERS else text or None
        for name in ("study_id", "ent"):
            if values.get(name) is None:
                raise InputError(f"structured finding: column {COLUMNS[name][0]!r} is missing or empty")
        return StructuredFinding(**values, extra=extra)

    def to_row(self, columns: Iterable[str] | None = None) -> dict[str, str]:
        """The row again, column → cell, ``None`` as an empty cell.

        ``columns`` are those to write, by any of their names and in their order (the header of the file that the row
        came from gives that row back); without it all of the schema and then ``extra``.

        Raises InputError for a column that this finding has nothing of.
        """
        if columns is None:
            columns = (*(names[0] for names in COLUMNS.values()), *self.extra)
        return {column: self._cell(column) for column in columns}

    @property
    def status(self) -> Status | None:
        """What the sentence says of the finding: tentative is uncertain, else present or absent; ``None`` if unsaid."""
        if (self.dx_certainty or "").lower() == "tentative":
            return "uncertain"
        says: dict[str, Status] = {"positive": "present", "negative": "absent"}
        return says.get((self.dx_status or "").lower())

    def _cell(self, column: str) -> str:
        name = _FIELD_OF.get(column.strip().lower())
        if name is not None:
            value = getattr(self, name)
            return "" if value is None else str(value)
        if column not in self.extra:
            raise InputError(f"structured finding: there is no column {column!r}; there are {sorted(self.extra)} more")
        return self.extra[column]


def whole_number(column: str, text: str) -> int | None:
    """The number in a cell, None if it is empty; tables that were saved with gaps write 3 as 3.0.

    Raises InputError, which names the column, if it is no whole number.
    """
    if not text:
        return None
    digits = text.removesuffix(".0")
    if not (digits.isascii() and digits.isdigit()):
        raise InputError(f"structured finding: column {column!r} must hold a whole number")
    return int(digits)
