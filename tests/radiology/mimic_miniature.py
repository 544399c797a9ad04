"""A miniature MIMIC-CXR tree in the layouts of PhysioNet; pictures are noise and nobody is in it."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian

CHEXPERT = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion"),
    *("Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax"),
    "Support Devices",
)
METADATA = (
    *("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns"),
    *("StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning"),
    "PatientOrientationCodeSequence_CodeMeaning",
)
RNG = np.random.default_rng(0)


@dataclass
class Visit:
    """A study of the miniature: images as (id, view), time as in the tables."""

    patient: int
    study: int
    images: Sequence[tuple[str, str]] = (("a", "PA"),)
    date: str = "21800506"
    time: str = "213014.531"
    report: str | None = "FINDINGS: Clear lungs.\n\nIMPRESSION: Normal."
    split: str = "train"
    labels: dict[str, str] = field(default_factory=dict)


def dicom_id(visit: Visit, name: str) -> str:
    return f"{visit.study:08x}-{name}"


def write_picture(path: Path) -> None:
    Image.fromarray(RNG.integers(0, 255, (24, 20), dtype=np.uint8)).save(path)


def write_dicom(path: Path, **fields: Any) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "SECRET^NAME"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 24, 20, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.PixelData = RNG.integers(0, 4095, (24, 20), dtype=np.uint16).tobytes()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def write_image(path: Path, visit: Visit, view: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".dcm":
        write_picture(path)
        return
    code = Dataset()
    code.CodeMeaning = {"PA": "postero-anterior", "LATERAL": "lateral"}.get(view, "")
    position = "" if view == "PA" and visit.study % 2 else view  # as in the real files, one of the two may be empty
    write_dicom(
        path,
        ViewPosition=position,
        ViewCodeSequence=DicomSequence([code]),
        StudyDate=visit.date,
        StudyTime=f"{float(visit.time):010.3f}" if visit.time else "",
    )


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_tree(root: Path, visits: Sequence[Visit], suffix: str = ".jpg", version: str = "2.0.0", gz: str = "") -> Path:
    """A tree with all its tables, reports beside the folders of the studies."""
    for visit in visits:
        folder = root / f"files/p{visit.patient}"[:9].rstrip("/") / f"p{visit.patient}"
        for name, view in visit.images:
            write_image(folder / f"s{visit.study}" / f"{dicom_id(visit, name)}{suffix}", visit, view)
        folder.mkdir(parents=True, exist_ok=True)
        if visit.report is not None:
            (folder / f"s{visit.study}.txt").write_text(visit.report, encoding="utf-8")
    images = [(visit, dicom_id(visit, name), view) for visit in visits for name, view in visit.images]
    if suffix == ".dcm":
        places = [(f"files/p10/p{v.patient}/s{v.study}", v, name) for v, name, _ in images]
        write_table(
            root / f"cxr-record-list.csv{gz}",
            ["subject_id", "study_id", "dicom_id", "path"],
            [[v.patient, v.study, name, f"{place}/{name}.dcm"] for place, v, name in places],
        )
        write_table(
            root / f"cxr-study-list.csv{gz}",
            ["subject_id", "study_id", "path"],
            [[v.patient, v.study, f"files/p10/p{v.patient}/s{v.study}.txt"] for v in visits],
        )
        return root
    start = f"mimic-cxr-{version}"
    write_table(
        root / f"{start}-metadata.csv{gz}",
        METADATA,
        [
            [name, v.patient, v.study, "CHEST", view, 24, 20, v.date, v.time.lstrip("0"), "CHEST", "", "Erect"]
            for v, name, view in images
        ],
    )
    write_table(
        root / f"{start}-split.csv{gz}",
        ["dicom_id", "study_id", "subject_id", "split"],
        [[name, v.study, v.patient, v.split] for v, name, _ in images],
    )
    for labeller in ("chexpert", "negbio"):
        write_table(
            root / f"{start}-{labeller}.csv{gz}",
            ["subject_id", "study_id", *CHEXPERT],
            [[v.patient, v.study, *(v.labels.get(name, "") for name in CHEXPERT)] for v in visits],
        )
    return root
