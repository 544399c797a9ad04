"""docs/maira2.md, typed: from a published checkpoint and a MIMIC tree to a dashboard, on miniatures of both."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from interp import cli
from interp.run import Run
from radiology.phantom.cases import phantom_studies
from tests.activations.standin import write_standin
from tests.radiology.mimic_miniature import Visit, write_tree

PAGE = Path(__file__).parents[2] / "docs" / "maira2.md"
N_STUDIES = 48
#: What differs on a miniature: places, sizes, and that there is no GPU.
MINIATURE = (
    (r"--device cuda", "--device cpu"),
    (r"--model-dtype bfloat16", "--model-dtype float32"),
    (r"language\.15", "language.1"),
    (r"n=4000", f"n={N_STUDIES}"),
    (r"(interp cache .*)", r"\1 --max-new-tokens 8"),  # of any report: random weights never end one
    (r"--expansion 4 --k 64", "--expansion 2 --k 4 --tokens 4000 --batch-size 256"),
    (r"--studies 24 ", "--studies 2 --random 1 --max-new-tokens 4 "),
    (r"(interp eval-sae .*)", r"\1 --loss-studies 2 --finding cardiomegaly --finding pleural_effusion"),
)


def commands() -> list[str]:
    text = PAGE.read_text()
    way = text[text.index("## The way") : text.index("From Python")]
    return [line for block in re.findall(r"```sh\n(.*?)```", way, re.DOTALL) for line in block.splitlines()]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The places that the page names → miniatures of what lies there."""
    root = tmp_path_factory.mktemp("licensed")
    visits = []
    for number, study in enumerate(phantom_studies(N_STUDIES, seed=3)):
        labels = {
            "Cardiomegaly": _chexpert(study.labels["cardiomegaly"]),
            "Pleural Effusion": _chexpert(study.labels["pleural_effusion"]),
        }
        report = f"INDICATION: {study.indication or 'Cough.'}\n\nFINDINGS: {study.report}\n"
        visits.append(Visit(10_000_000 + number, 50_000_000 + number, report=report, labels=labels))
    tree = write_tree(root / "mimic", visits)
    for path, study in zip(sorted(tree.rglob("*.jpg")), phantom_studies(N_STUDIES, seed=3), strict=True):
        Image.fromarray(np.asarray(study.pixels("frontal"))).save(path)
    return {
        "/data/maira-2": write_standin(root / "maira-2"),
        "/data/mimic-cxr": tree,
        "runs/maira2": root / "run",
    }


def _chexpert(status: str) -> str:
    return {"present": "1.0", "absent": "0.0", "uncertain": "-1.0"}[status]


def typed(line: str, places: dict[str, Path]) -> list[str]:
    for pattern, replacement in MINIATURE:
        line = re.sub(pattern, replacement, line)
    for place, path in places.items():
        line = line.replace(place, str(path))
    return shlex.split(line)


def test_the_page_leads_from_nothing_to_a_dashboard(
    places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = commands()
    assert [line.split()[0] for line in lines] == ["hf", *["interp"] * (len(lines) - 1)]
    named = [line.split()[1] for line in lines[1:]]
    assert named == ["doctor", "cache", "train-sae", "eval-sae", "index", "explain", "score", "steer", "dashboard"]
    for line in lines[1:]:
        status = cli.run([*typed(line, places)[1:], *([] if "doctor" in line else ["--debug"])])
        captured = capsys.readouterr()
        assert status == 0, f"{line}\n{captured.out}\n{captured.err}"
    run = Run.open(places["runs/maira2"])
    assert (run.path / "dashboard.html").stat().st_size > 50_000
    studies = pd.read_parquet(run.studies_path)
    assert set(studies["terms"]) == {"credentialed"}
    assert studies["indication"].notna().all()
    with run.store as store:
        assert set(store.column("role")) == {1, 2, 3, 7}  # template, image, indication, report
    generations = pd.concat(pd.read_parquet(path) for path in run.path.glob("sae/main/steering/*/generations.parquet"))
    assert len(generations) > 2


def test_without_trust_no_command_runs_the_checkpoint_s_code(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = next(line for line in commands() if " cache " in line).replace(" --trust-remote-code", "")
    status = cli.run(typed(line, {**places, "runs/maira2": tmp_path / "run"})[1:])
    err = capsys.readouterr().err
    assert status == 2
    assert "--trust-remote-code" in err
    assert "processing_maira2.py" in err
