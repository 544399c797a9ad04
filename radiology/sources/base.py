"""What every source of studies has in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from dataclasses import field as column
from hashlib import sha256
from pathlib import Path

from radiology.errors import InputError
from radiology.images import read_image
from radiology.paths import shown
from radiology.study import Study, Terms

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_ID = 100


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that a source left out: the file, its row (line number, the header being 1) and field, and why.

    The reason never holds the value of a field: it may be a patient's. ``lost`` tells whether a study was lost with it;
    without, it is a note (an image that no row names) and no error when strict.
    """

    file: Path
    row: int | None
    field: str | None
    reason: str
    lost: bool = column(default=False, compare=False)

    def __str__(self) -> str:
        row = f", line {self.row}" if self.row is not None else ""
        field = f", field {self.field!r}" if self.field is not None else ""
        return f"{shown(self.file)}{row}{field}: {self.reason}"


class StudySource(ABC):
    """A series of studies that can be iterated again and again, each time in the same order.

    Iterating gives studies that hold the paths of their images, and leaves out those whose images cannot be read.
    :meth:`listed` does not look at the images, and :meth:`decoded` takes the grey values of one study into memory:
    together they read every file once, and what changes on the disk afterwards does no harm.

    ``len()`` is the number of studies that are there before unreadable ones are left out. ``skipped`` tells what the
    latest iteration left out so far; one iteration at a time.
    """

    def __init__(self, spec: str, terms: Terms, strict: bool) -> None:
        self.spec = spec
        self.terms: Terms = terms
        self.strict = strict
        self.skipped: list[Skipped] = []
        self._readable: set[Path] = set()
        #: The table that rows of images are told of; the image itself where there is none.
        self._table_path: Path | None = None
        self._only_list = False
        self._named: dict[Path, tuple[int | None, str | None]] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _studies(self) -> Iterator[Study]:
        """The studies, reporting what is left out through :meth:`_skip`."""

    def __iter__(self) -> Iterator[Study]:
        self.skipped.clear()
        self._named.clear()
        yield from self._studies()

    def listed(self) -> Iterator[Study]:
        """The same studies and those whose images cannot be read, without a look at the images: quick."""
        self._only_list = True
        try:
            yield from iter(self)
        finally:
            self._only_list = False

    def decoded(self, study: Study) -> Study | None:
        """A study of this source with the grey values of its images in place of their paths, each file read once.

        None if one cannot be read; that is then in ``skipped``.

        Raises:
            InputError: one cannot be read, and the source is strict.
        """
        images = {}
        for name, image in study.images.items():
            if isinstance(image, Path):
                try:
                    images[name] = read_image(image)
                except InputError as error:
                    self._skip_image(image, error, *self._named.get(image, (None, None)))
                    return None
            else:
                images[name] = image
        return replace(study, images=images)

    def _can_be_read(self, path: Path, row: int | None, field: str | None) -> bool:
        """Whether an image that is named in this row and field can be decoded; reported if not.

        While the studies are only listed this is put off until :meth:`decoded`.
        """
        if self._only_list:
            self._named[path] = (row, field)
            return True
        if path in self._readable:
            return True
        try:
            read_image(path)
        except InputError as error:
            self._skip_image(path, error, row, field)
            return False
        self._readable.add(path)
        return True

    def _skip_image(self, path: Path, error: InputError, row: int | None, field: str | None) -> None:
        if row is None or self._table_path is None:
            self._skip(path, row, field, str(error).removeprefix(f"image {shown(path)}: "))
        else:
            self._skip(self._table_path, row, field, str(error))

    def _skip(self, file: Path, row: int | None, field: str | None, reason: str) -> None:
        skipped = Skipped(file, row, field, reason, lost=True)
        if self.strict:
            raise InputError(str(skipped))
        self.skipped.append(skipped)


def safe_id(text: str) -> str:
    """``text`` as an id that can be a file name on any system: ASCII letters, digits, dot, dash and underscore.

    Ids that had to be altered end in a short hash of the original, so that different ones stay different.
    """
    safe = re.sub(r"\.{2,}", ".", _UNSAFE.sub("_", text)).strip("._")[:_MAX_ID]
    if safe and safe == text:
        return safe
    original = text.encode("utf-8", "backslashreplace")  # names of files need not be UTF-8
    return f"{safe or 'id'}-{sha256(original).hexdigest()[:8]}"
