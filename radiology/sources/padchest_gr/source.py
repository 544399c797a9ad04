"""``padchest-gr:ROOT[,language=en|es][,split=NAME][,n=N][,json=PATH]``: PadChest-GR (arXiv 2411.05085).

``ROOT`` holds the grounded reports (``grounded_reports_*.json``), ``master_table.csv``, and the images (PNG of 16 bit,
or converted) in any folder below, those of prior studies too. The report of a study is its sentences in the chosen
language; each sentence keeps both languages, its boxes, labels, locations and progression in ``grounded``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from radiology.errors import InputError
from radiology.sources.arguments import PathArguments, path_and_options
from radiology.sources.base import Skipped, safe_id
from radiology.sources.image_files import ImageFolder, ImageSource
from radiology.sources.labels import concept_key, merge_labels
from radiology.sources.padchest_gr.grounded_json import (
    LANGUAGES,
    JsonEntry,
    joined,
    key_of,
    read_json_list,
    sentence_of,
)
from radiology.sources.padchest_gr.master import MasterTable, StudyFacts, read_master_table, split_name
from radiology.study import GroundedSentence, Status, Study

_OPTIONS = {
    "language": "the language of the report, en (default) or es",
    "split": "only studies of this split, e.g. test",
    "n": "only the first N studies",
    "json": "the file with the grounded reports, where there are several",
}
_REPORTS = "grounded_reports*.json"
_MASTER = "master_table*.csv"
_PRIOR = ("PreviousImageID", "prior_imageID")


class PadChestGrSource(ImageSource):
    """Studies in the order of the JSON file.

    ``decisions`` counts ``label conflicts`` (a finding that one sentence affirms and another denies).
    """

    def __init__(
        self,
        spec: str,
        json: Path,
        entries: list[JsonEntry],
        master: MasterTable,
        images: ImageFolder,
        language: str,
        strict: bool,
    ) -> None:
        super().__init__(spec, "credentialed", strict)
        self.language = language
        self._json, self._entries, self._master, self._images = json, entries, master, images

    def __len__(self) -> int:
        return len(self._entries)

    def _studies(self) -> Iterator[Study]:
        for problem in self._master.problems:
            self._skip(self._master.path, problem.row, problem.field, problem.reason)
        seen: set[str] = set()
        missing_priors = 0
        for entry in self._entries:
            facts = self._facts(entry, seen)
            images = None if facts is None else self._images_of(entry, facts)
            if facts is None or images is None:
                continue
            sentences = self._sentences(entry)
            if not sentences:
                self._leave_out(entry, "findings", f"holds no sentence in {self.language}: a report without findings")
                continue
            missing_priors += "prior_frontal" not in images and _prior(entry, facts) is not None
            yield self._study(entry, facts, images, sentences)
        if missing_priors:  # they come in an archive of their own, which many leave out: a note, no error when strict
            reason = (
                f"{missing_priors} prior images are not below {self._images.root}; unpack their archive to use them"
            )
            self.skipped.append(Skipped(self._json, None, _PRIOR[0], reason))

    def _leave_out(self, entry: JsonEntry, field: str, reason: str) -> None:
        self._skip(self._json, entry.line, f"{entry.field}.{field}", reason)

    def _facts(self, entry: JsonEntry, seen: set[str]) -> StudyFacts | None:
        """What the master table says of a study; None, and reported, if it is unknown or had its turn."""
        study_id = study_id_of(entry)
        facts = facts_of(self._master, entry)
        if study_id is None:
            self._leave_out(entry, "StudyID", "is missing; it must be a text or a whole number")
        elif study_id in seen:
            self._leave_out(entry, "StudyID", "the same study stands earlier in the file")
        elif facts is None:
            reason = f"is not in {self._master.path.name}, so its patient is not known"
            self._leave_out(entry, self._master.key_column, reason)
        elif facts.conflict is not None:
            reason = f"names another patient for the study of line {facts.line}"
            self._skip(self._master.path, facts.conflict, "PatientID", reason)
        else:
            seen.add(study_id)
            return facts
        return None

    def _images_of(self, entry: JsonEntry, facts: StudyFacts) -> dict[str, Path] | None:
        """Frontal image, and the prior one where it is there; None, and reported, if one cannot be used."""
        named = key_of(entry.value, "ImageID")
        path, problem = self._images.find(named) if named else (None, "is missing")
        if path is None:
            self._leave_out(entry, "ImageID", problem)
            return None
        images = {"frontal": path}
        prior = _prior(entry, facts)
        if prior is not None and (prior_path := self._images.find(prior)[0]) is not None:
            images["prior_frontal"] = prior_path
        readable = (self._can_be_read(image, entry.line, f"{entry.field}.ImageID") for image in images.values())
        return images if all(readable) else None

    def _sentences(self, entry: JsonEntry) -> tuple[GroundedSentence, ...]:
        findings = entry.value.get("findings")
        if not isinstance(findings, list):
            return ()
        report = partial(self._skip, self._json, entry.line)
        sentences = (
            sentence_of(finding, f"{entry.field}.findings[{number}]", self.language, report)
            for number, finding in enumerate(findings)
        )
        return tuple(sentence for sentence in sentences if sentence is not None)

    def _study(
        self, entry: JsonEntry, facts: StudyFacts, images: dict[str, Path], sentences: tuple[GroundedSentence, ...]
    ) -> Study:
        labels, conflicts = merge_labels(_statements(sentences))
        self.decisions["label conflicts"] += conflicts
        return Study(
            study_id=safe_id(study_id_of(entry) or ""),
            patient_id=safe_id(facts.patient_id),
            images=images,
            terms="credentialed",
            report=joined(sentences),
            grounded=sentences,
            labels=labels,
            metadata={**facts.metadata, "language": self.language},
        )


def open_source(arguments: str, *, strict: bool) -> PadChestGrSource:
    """Open a copy of PadChest-GR; InputError if a file or a column is missing, or the JSON is broken."""
    given = path_and_options("padchest-gr", arguments, _OPTIONS)
    language = given.choice("language", LANGUAGES, "en")
    n = given.number("n")
    images = ImageFolder(given.path)
    json = _find_json(given)
    master = read_master_table(_find_one(given.path, _MASTER, "unpack it if it is a zip"))
    entries = _of_split(given, read_json_list(json), master)
    return PadChestGrSource(given.spec, json, entries[:n], master, images, language, strict)


def study_id_of(entry: JsonEntry) -> str | None:
    """The id as written; None if the entry has none."""
    return key_of(entry.value, "StudyID") if isinstance(entry.value, Mapping) else None


def facts_of(master: MasterTable, entry: JsonEntry) -> StudyFacts | None:
    """What the master table says of a study; None if it says nothing."""
    key = key_of(entry.value, master.key_column) if isinstance(entry.value, Mapping) else None
    return None if key is None else master.facts.get(key)


def _of_split(given: PathArguments, entries: list[JsonEntry], master: MasterTable) -> list[JsonEntry]:
    """Studies of the split that is asked for, all if none is; those of an unknown split stay, to be reported."""
    if "split" not in given.options:
        return entries
    wanted = split_name(given.options["split"])
    there_are = {str(facts.metadata["split"]) for facts in master.facts.values() if "split" in facts.metadata}
    if wanted not in there_are:
        known = ", ".join(sorted(there_are)) or "none: the table has no column 'split'"
        raise InputError(f"studies {given.spec!r}: split={wanted} has no studies in {master.path}; there are {known}")
    split_of = ((entry, facts_of(master, entry)) for entry in entries)
    return [entry for entry, facts in split_of if facts is None or facts.metadata.get("split") == wanted]


def _find_json(given: PathArguments) -> Path:
    """The file with the grounded reports: as given, by its name, or by what stands at its beginning."""
    if "json" in given.options:
        named = Path(given.options["json"]).expanduser()
        path = next((one for one in (named, given.path / named) if one.is_file()), None)
        if path is None:
            raise InputError(f"studies {given.spec!r}: json={named} is no file, neither as it is nor in {given.path}")
        return path
    if not any(given.path.rglob(_REPORTS)):
        found = [path for path in sorted(given.path.rglob("*.json")) if _speaks_of_studies(path)]
        if len(found) == 1:
            return found[0]
    return _find_one(given.path, _REPORTS, "name it with json=PATH")


def _speaks_of_studies(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"StudyID"' in file.read(1 << 16)
    except OSError:
        return False


def _find_one(root: Path, pattern: str, hint: str) -> Path:
    """The file of this pattern nearest to ``root``; InputError if there is none or more than one as near."""
    found = sorted(root.rglob(pattern), key=lambda path: (len(path.parts), path))
    nearest = [path for path in found if len(path.parts) == len(found[0].parts)]
    if len(nearest) == 1:
        return nearest[0]
    raise InputError(f"folder {root}: holds {len(nearest) or 'no'} files named {pattern} where one is needed; {hint}")


def _prior(entry: JsonEntry, facts: StudyFacts) -> str | None:
    return key_of(entry.value, *_PRIOR) or facts.prior_image


def _statements(sentences: tuple[GroundedSentence, ...]) -> Iterator[tuple[str, Status]]:
    for sentence in sentences:
        if sentence.positive is None:
            continue
        for label in sentence.labels:
            key = concept_key(label)
            if key is not None:
                yield key, "present" if sentence.positive else "absent"
