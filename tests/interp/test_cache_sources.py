"""``interp cache`` from every source, with a model that fits it; docs/maira2.md's test takes MIMIC-CXR."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from interp import cli
from interp.run import Run
from radiology.sources import READERS
from tests.activations.tiny_models import dinov2, llama_chat
from tests.radiology.mimic_miniature import Visit, write_tree


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 34), dtype=np.uint8)).save(path)


def folder(root: Path) -> str:
    picture(root / "a.png")
    picture(root / "b.png")
    (root / "studies.csv").write_text("file,findings,sex\na.png,Clear lungs.,F\nb.png,The heart is large.,M\n")
    return f"folder:{root}"


def mimic(root: Path) -> str:
    return f"mimic-cxr:{write_tree(root, [Visit(10000001, 50000001), Visit(10000002, 50000002)])}"


def padchest(root: Path) -> str:
    finding = {"sentence_en": "Small effusion.", "sentence_es": "Derrame.", "abnormal": True, "boxes": [[0, 0, 1, 1]]}
    studies = [{"StudyID": f"{n}", "ImageID": f"{n}.png", "findings": [finding]} for n in (1, 2)]
    (root / "grounded_reports.json").write_text(json.dumps(studies))
    (root / "master_table.csv").write_text("StudyID,ImageID,PatientID\n1,1.png,p1\n2,2.png,p2\n")
    for n in (1, 2):
        picture(root / f"{n}.png")
    return f"padchest-gr:{root}"


def openi(root: Path) -> str:
    (root / "indiana_reports.csv").write_text(
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
        "1,normal,normal,PA chest,Cough,,Clear lungs.,\n2,normal,normal,PA chest,,,The heart is large.,\n"
    )
    (root / "indiana_projections.csv").write_text("uid,filename,projection\n1,x.png,Frontal\n2,y.png,Frontal\n")
    picture(root / "x.png")
    picture(root / "y.png")
    return f"openi:{root}"


def lunguage(root: Path) -> str:
    header = "study_id,section,sent_idx,sent,ent,cat,dx_status,dx_certainty"
    rows = [f"s{n},find,1,Small left effusion.,effusion,PF,positive,definitive" for n in (1, 2)]
    (root / "Lunguage.csv").write_text("\n".join([header, *rows]) + "\n")
    return f"lunguage:{root}"


def phantom(root: Path) -> str:
    return "phantom:n=2,seed=5"


SOURCES: dict[str, Callable[[Path], str]] = {
    "folder": folder,
    "mimic-cxr": mimic,
    "padchest-gr": padchest,
    "openi": openi,
    "lunguage": lunguage,
    "phantom": phantom,
}


def test_no_source_is_forgotten_here() -> None:
    assert SOURCES.keys() == READERS.keys()


@pytest.mark.parametrize("scheme", SOURCES)
def test_two_studies_of_every_source_are_cached_and_carry_its_terms(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    spec = SOURCES[scheme](tmp_path / "data")
    model, site = "phantom:random", "language.1"
    if scheme == "lunguage":  # text without images
        model = str(llama_chat(tmp_path / "model"))
    command = ["cache", "--run", str(tmp_path / "run"), "--model", model, "--studies", spec, "--site", site, "--strict"]
    assert cli.run([*command, "--debug"]) == 0
    run = Run.open(tmp_path / "run")
    studies = pd.read_parquet(run.studies_path)
    terms = {"folder": "own", "openi": "open", "phantom": "phantom"}.get(scheme, "credentialed")
    assert studies["terms"].tolist() == [terms] * 2
    assert studies["report_source"].tolist() == ["reference"] * 2
    assert (studies["rows"] > 0).all()
    assert run.record.stages["cache"].summary["left_out"] == {spec: 0}


def test_an_encoder_caches_images_and_keeps_the_report_beside_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    spec, model = openi(tmp_path / "data"), dinov2(tmp_path / "model")
    command = ["cache", "--run", str(tmp_path / "run"), "--model", str(model), "--studies", spec, "--roles", "image"]
    assert cli.run([*command, "--site", "vision.0", "--debug"]) == 0
    studies = pd.read_parquet(tmp_path / "run" / "studies.parquet")
    assert studies["report"].tolist() == ["Clear lungs.", "The heart is large."]
