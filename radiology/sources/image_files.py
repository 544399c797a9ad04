"""Images below a folder, found by the name that a table gives them, and the check that they can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from radiology.errors import InputError
from radiology.images import find_images, image_name
from radiology.sources.base import StudySource
from radiology.study import Study, Terms


class ImageFolder:
    """Every image below ``root``, at any depth, by its name.

    Only what was found below the folder can be named: a table cannot point elsewhere.

    Raises InputError if ``root`` is not a folder or holds no image.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = find_images(root)
        if not self.paths:
            raise InputError(f"folder {root}: holds no images that can be read; are the archives of images unpacked?")
        self._by_file: dict[str, list[Path]] = {}
        self._by_name: dict[str, list[Path]] = {}
        for path in self.paths:
            self._by_file.setdefault(path.name, []).append(path)
            self._by_name.setdefault(_bare(path.name), []).append(path)

    def find(self, named: str) -> tuple[Path | None, str]:
        """The image of this name, with or without suffix and whatever folder it names; else why there is none."""
        name = named.replace("\\", "/").rsplit("/", 1)[-1]
        found = self._by_file.get(name) or self._by_name.get(_bare(name), [])
        if len(found) == 1:
            return found[0], ""
        if found:
            return None, f"{len(found)} images below {self.root} have this name; keep one of them"
        return None, f"no such image below {self.root}"


class ImageSource(StudySource):
    """A source whose studies are files.

    ``decisions`` counts what the latest iteration had to decide where the data leave it open (which picture is the
    lateral, which of two labels holds). Pixels are looked at one study at a time and not kept: a study holds paths.
    """

    def __init__(self, spec: str, terms: Terms, strict: bool) -> None:
        super().__init__(spec, terms, strict)
        self.decisions: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Study]:
        self.decisions.clear()
        yield from super().__iter__()


def _bare(name: str) -> str:
    """Name without suffix; ``x.dcm.png``, as converted DICOM files are called, is x."""
    return image_name(image_name(name))
