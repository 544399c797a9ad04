"""The causal map of a run decides where to train and what to steer, says so, and warns; screening a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from interp import cli
from interp.causal_defaults import default_site, default_tokens, site_warning
from interp.run import Run
from steering import feature_pool
from steering.tracing.place import read_causal_map
from steering.tracing.trace import trace_to_parquet


@pytest.fixture(scope="module")
def traced(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the run whose map says: images carry all at language.2, and nothing at language.4."""
    path = tmp_path_factory.mktemp("traced") / "run"
    shutil.copytree(tiny_run.path, path)
    one = read_causal_map(path)
    assert one is not None
    cell = one.iloc[0].to_dict() | {"key": "cardiomegaly"}
    rows = [
        cell | {"site": site, "scope": scope, "effect": effect, "low": effect, "high": effect}
        for site, image, text in (("language.2", 1.0, 0.0), ("language.4", 0.0, 0.0))
        for scope, effect in (("prompt.image", image), ("prompt.text", text), ("generated", text))
    ]
    trace_to_parquet(pd.DataFrame(rows), path)
    return Run.open(path)


def test_the_map_chooses_site_and_tokens(traced: Run) -> None:
    chosen = default_site(traced, ["language.2", "language.4"])
    assert chosen is not None
    assert chosen[0] == "language.2"
    assert "causal map" in chosen[1]
    assert default_site(traced, ["language.4"]) is None
    assert site_warning(traced, "language.2") is None
    assert "carried at language.2 on prompt.image" in (site_warning(traced, "language.4") or "")
    tokens = default_tokens(traced, "main", "cardiomegaly")
    assert tokens is not None
    assert tokens[0] == "prompt.image"


def test_without_a_map_nothing_is_decided(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("trace", "activations"))
    bare = Run.open(tmp_path / "run")
    assert default_site(bare, ["language.2"]) is None
    assert site_warning(bare, "language.2") is None
    assert default_tokens(bare, "main", "cardiomegaly") is None


def test_a_place_without_effect_is_warned_about_and_recorded(traced: Run, capsys: pytest.CaptureFixture[str]) -> None:
    feature = str(_mapped(traced)[0])
    arguments = [
        "steer",
        "--run",
        str(traced.path),
        "--feature",
        feature,
        "--finding",
        "cardiomegaly",
        "--studies",
        "2",
    ]
    more = ["--random", "1", "--max-new-tokens", "4", "--tokens", "generated", "--strength", "1", "--name", "inert"]
    assert cli.run([*arguments, *more]) == 0
    seen = capsys.readouterr()
    assert "Warning: feature" in seen.err
    assert "shows no effect of language.2 on cardiomegaly" in seen.err
    assert "verdict" in seen.out
    spec = json.loads((traced.steering_dir("main", "inert") / "spec.json").read_text())
    summary = Run.open(traced.path).require("steer:main:inert").summary
    assert spec["warnings"] == summary["warnings"] != []
    assert summary["verdicts"][0]["verdict"] == "too few studies to say"


def test_screening_a_run(traced: Run, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = [part for feature in _mapped(traced)[:3] for part in ("--feature", str(feature))]
    sizes = ["--pairs", "1", "--keep", "1", "--group", "2", "--studies", "2", "--strength", "2"]
    assert cli.run(["screen", "--run", str(traced.path), "--finding", "cardiomegaly", *chosen, *sizes]) in (0, 2)
    seen = capsys.readouterr()
    # a model with random weights writes nothing that can be read: the screening says so after its first step
    assert "an hour" in seen.out or "can be read and leaves room" in seen.err
    table = pd.read_parquet(traced.sae_dir() / "steering" / "screen-cardiomegaly.parquet")
    assert sorted(table["feature"]) == sorted(_mapped(traced)[:3])


def _mapped(run: Run) -> list[int]:
    """Features with a map on the frontal image that is not empty."""
    return sorted(feature_pool(run.features.frame).maps)
