"""Which studies ``mimic-cxr:ROOT,…`` means, and what the tables say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from radiology.errors import InputError
from radiology.sources.arguments import PathArguments
from radiology.sources.base import Skipped
from radiology.sources.mimic_cxr.entries import StudyEntry
from radiology.sources.mimic_cxr.reports import Reports, find_reports, named_reports
from radiology.sources.mimic_cxr.tables import (
    SPLITS,
    read_labels,
    read_metadata,
    read_patients,
    read_records,
    read_splits,
)
from radiology.sources.mimic_cxr.tree import Tree, open_tree, patients_in, table_name, walk_studies

OPTIONS = {
    "split": "train, validate or test",
    "labels": "chexpert (default), negbio or none",
    "views": "frontal (default: studies with a PA or AP image) or any",
    "report": "findings (default), impression, both or none: which sections the model is to write",
    "reports": "folder or zip file of the reports, if they are not in the root",
    "patients": "patients.csv[.gz] of MIMIC-IV, for sex and age",
    "n": "only the first n studies",
}
LABELLERS = ("chexpert", "negbio", "none")


@dataclass(frozen=True)
class Catalogue:
    """Studies by patient and time, and what belongs to patients and studies by their number.

    ``source`` is what named the studies: a table, or the folder ``files``. ``from_headers``: views, dates and times are
    not known yet. ``problems`` are what is wrong in the tables; ``notes`` are what was not asked for.
    """

    tree: Tree
    source: Path
    entries: Sequence[StudyEntry]
    from_headers: bool
    reports: Reports | None
    splits: Mapping[int, str]
    labels: Mapping[int, bytes]
    patients: Mapping[int, tuple[str | None, int]]
    problems: Sequence[Skipped]
    notes: Sequence[Skipped]


def open_catalogue(arguments: PathArguments) -> Catalogue:
    """Read the tables; InputError if one that is needed is missing or cannot be used, or no study is left."""
    frontal_only = arguments.choice("views", ("frontal", "any"), "frontal") == "frontal"
    arguments.choice("labels", LABELLERS, LABELLERS[0])
    arguments.choice("split", SPLITS, SPLITS[0])
    tree = open_tree(arguments.path)
    problems: list[Skipped] = []
    notes: list[Skipped] = []
    source, entries = _entries(tree, problems)
    from_headers = source != tree.tables.get("metadata")
    splits = read_splits(tree.tables["split"], problems) if "split" in tree.tables else {}
    entries = _of_split(arguments, tree, entries, splits, notes)
    if source != tree.files:
        entries = _with_folder(tree, source, entries, problems)
    if frontal_only and not from_headers:
        entries = _with_frontal(source, entries, notes)
    if not entries:
        raise InputError(f"studies {arguments.spec!r}: none is left; {_why_none(source, problems + notes)}")
    reports = _reports(arguments, tree, entries, notes)
    patients = {entry.patient for entry in entries}
    return Catalogue(
        tree=tree,
        source=source,
        entries=entries,
        from_headers=from_headers,
        reports=reports,
        splits=splits,
        labels=_labels(arguments, tree, problems),
        patients=_patients(arguments, patients, problems),
        problems=problems,
        notes=notes,
    )


def _entries(tree: Tree, problems: list[Skipped]) -> tuple[Path, list[StudyEntry]]:
    """The studies, and the table (or folder) that names them."""
    if "metadata" in tree.tables:
        return tree.tables["metadata"], read_metadata(tree.tables["metadata"], problems)
    if "records" in tree.tables:
        return tree.tables["records"], read_records(tree.tables["records"], tree.tables.get("studies"), problems)
    return tree.files, walk_studies(tree, problems)


def _with_folder(tree: Tree, source: Path, entries: list[StudyEntry], problems: list[Skipped]) -> list[StudyEntry]:
    """Without patients of whom there is no folder: many people download a part. One problem for each of p10 … p19."""
    present = set(patients_in(tree))
    missing: Counter[Path] = Counter(tree.group(entry.patient) for entry in entries if entry.patient not in present)
    for group, count in missing.items():
        reason = f"{count:,} studies are of patients with no folder in {group}"
        problems.append(Skipped(source, None, "subject_id", reason, lost=True))
    return [entry for entry in entries if entry.patient in present]


def _with_frontal(source: Path, entries: list[StudyEntry], notes: list[Skipped]) -> list[StudyEntry]:
    frontal = [entry for entry in entries if entry.frontals]
    if len(frontal) < len(entries):
        reason = f"{len(entries) - len(frontal):,} studies have no PA or AP image; views=any takes them"
        notes.append(Skipped(source, None, "ViewPosition", reason))
    return frontal


def _of_split(
    arguments: PathArguments,
    tree: Tree,
    entries: list[StudyEntry],
    splits: Mapping[int, str],
    notes: list[Skipped],
) -> list[StudyEntry]:
    if "split" not in arguments.options:
        return entries
    split = arguments.choice("split", SPLITS, SPLITS[0])
    if "split" not in tree.tables:
        raise InputError(f"studies {arguments.spec!r}: split={split} needs {table_name('split')} in {tree.root}")
    unnamed = sum(entry.patient not in splits for entry in entries)
    if unnamed:
        reason = f"{unnamed:,} studies are of patients in no split, and left out"
        notes.append(Skipped(tree.tables["split"], None, "subject_id", reason))
    return [entry for entry in entries if splits.get(entry.patient) == split]


def _why_none(source: Path, left_out: Sequence[Skipped]) -> str:
    if not left_out:
        return f"{source} names none that fits"
    return f"{source} names none that fits, and {len(left_out):,} things are in the way, the first: {left_out[0]}"


def _reports(
    arguments: PathArguments, tree: Tree, entries: Sequence[StudyEntry], notes: list[Skipped]
) -> Reports | None:
    if named := arguments.options.get("reports"):
        path = Path(named).expanduser()
        if not path.exists():
            raise InputError(f"studies {arguments.spec!r}: reports={named} does not exist")
        return named_reports(path)
    reports = find_reports(tree, entries)
    if reports is None:
        where = "there are no reports in it; MIMIC-CXR has them as mimic-cxr-reports.zip, give reports=PATH"
        if arguments.options.get("report", "none") != "none":
            raise InputError(f"studies {arguments.spec!r}: {where}")
        notes.append(Skipped(tree.root, None, "report", where))
    return reports


def _labels(arguments: PathArguments, tree: Tree, problems: list[Skipped]) -> dict[int, bytes]:
    kind = arguments.choice("labels", LABELLERS, LABELLERS[0])
    if kind in tree.tables:
        return read_labels(tree.tables[kind], problems)
    if kind != "none" and "labels" in arguments.options:
        raise InputError(f"studies {arguments.spec!r}: labels={kind} needs {table_name(kind)} in {tree.root}")
    return {}


def _patients(
    arguments: PathArguments, wanted: Collection[int], problems: list[Skipped]
) -> dict[int, tuple[str | None, int]]:
    named = arguments.options.get("patients")
    if named is None:
        return {}
    path = Path(named).expanduser()
    places = [path, *(path / inside / name for inside in ("", "hosp") for name in ("patients.csv", "patients.csv.gz"))]
    table = next((place for place in places if place.is_file()), None)
    if table is None:
        raise InputError(
            f"studies {arguments.spec!r}: patients={named} is not there; give patients.csv[.gz] of MIMIC-IV"
        )
    return read_patients(table, wanted, problems)
