"""What `interp cache` makes of input that cannot be used: left out, counted and listed; or, strict, one message."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from activations import StudyIndex, cache_activations, open_model
from activations.models.base import ReportModel
from interp import cli
from interp.left_out import COLUMNS, FILE_NAME, LeftOut, read_sources
from interp.progress import Progress, Reporter
from interp.run import Run
from interp.run_studies import RunStudies
from interp.stages.base import Work
from interp.stages.cache import CacheConfig, cache, open_sources
from radiology.errors import InputError
from radiology.sources.base import Skipped

SITE = "language.1"


@pytest.fixture(scope="module")
def model() -> ReportModel:
    return open_model("phantom:random")


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 44), dtype=np.uint8)).save(path)
    return path


def config(*folders: Path) -> CacheConfig:
    studies = tuple(f"folder:{folder}" for folder in folders)
    return CacheConfig("phantom:random", studies, (SITE,), roles="image", max_new_tokens=2)


def command(run: Path, *arguments: str) -> list[str]:
    fixed = ("--model", "phantom:random", "--site", SITE, "--roles", "image", "--max-new-tokens", "2")
    return ["cache", "--run", str(run), *fixed, *arguments]


def listed(run: Path) -> list[dict[str, str]]:
    with (run / FILE_NAME).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())["stages"]["cache"]["summary"]
    return found


def ids(run: Path) -> list[str]:
    return [str(study_id) for study_id in StudyIndex.read(run).frame["study_id"]]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A table with two good rows among bad ones."""
    folder = tmp_path / "scans"
    for number, name in enumerate(("a", "b", "c")):
        picture(folder / f"{name}.png", number)
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:90])
    lines = [
        "image_id,patient_id,report",
        "a,SECRET,",
        "gone,SECRET,",
        "cut,SECRET,",
        "a,SECRET,",
        "b,SECRET,",
        ",SECRET,",
    ]
    (folder / "studies.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_what_cannot_be_used_is_left_out_counted_and_listed(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, source = tmp_path / "r", f"folder:{mixed}"
    assert cli.run(command(run, "--studies", source)) == 0
    shown = capsys.readouterr()
    assert ids(run) == ["a", "b"]
    rows = {(row["row"], row["field"]): row for row in listed(run)}
    assert set(rows) == {("3", "image_id"), ("4", "image_id"), ("5", "image_id"), ("7", "image_id"), ("", "")}
    assert rows["4", "image_id"]["study_id"] == "cut"
    assert "cut.png: is truncated" in rows["4", "image_id"]["reason"]
    assert [row["lost"] for row in listed(run)].count("no") == 1  # c.png, which no row names
    assert summary(run)["left_out"] == {source: 5}
    assert len(summary(run)["left_out_reasons"]) == shown.out.count("left out: ") == 5
    for text in (shown.out, shown.err, (run / FILE_NAME).read_text(), str(summary(run)["left_out_reasons"])):
        assert "SECRET" not in text
        assert "Traceback" not in text


def test_strict_stops_at_the_first(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "r"
    assert cli.run(command(run, "--studies", f"folder:{mixed}", "--strict")) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"Error: {mixed / 'studies.csv'}, line 7, field 'image_id': is empty")
    assert cli.run(command(run, "--studies", f"folder:{mixed}")) == 0  # the same run goes on without it
    assert ids(run) == ["a", "b"]
    for _ in range(2):  # and what it left out is not forgiven afterwards
        capsys.readouterr()
        assert cli.run(command(run, "--studies", f"folder:{mixed}", "--strict")) == 2
        assert "4 were left out before --strict was given" in capsys.readouterr().err


def test_a_strict_run_that_ends_is_the_same_as_any_other(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "scans" / f"{number}.png", number)
    runs = [tmp_path / "plain", tmp_path / "strict"]
    assert cli.run(command(runs[0], "--studies", f"folder:{tmp_path / 'scans'}")) == 0
    assert cli.run(command(runs[1], "--studies", f"folder:{tmp_path / 'scans'}", "--strict")) == 0
    hashes = [Run.open(run).require("cache").config_hash for run in runs]
    assert hashes[0] == hashes[1]
    assert ids(runs[0]) == ids(runs[1]) == ["0", "1", "2"]
    assert listed(runs[0]) == listed(runs[1]) == []
    assert cli.run(command(runs[0], "--studies", f"folder:{tmp_path / 'scans'}", "--strict")) == 0


@pytest.mark.parametrize(
    ("studies", "reason"),
    [
        ("folder:{}/scans/a.png", "is a file; give the folder"),
        ("folder:{}/nowhere", "does not exist"),
        ("folder:{}/broken", "none can be used; 1 were left out, the first is {}/broken/x.png: is not an image"),
    ],
)
def test_input_that_gives_nothing_is_an_error(
    tmp_path: Path, studies: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "scans" / "a.png")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.png").write_text("text")
    assert cli.run(command(tmp_path / "r", "--studies", studies.format(tmp_path))) == 2
    error = capsys.readouterr().err
    assert reason.format(tmp_path) in error
    assert "Traceback" not in error


def test_a_long_list_is_whole_in_its_file_and_cut_where_people_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "scans" / "a.png")
    for number in range(230):
        (tmp_path / "scans" / f"x{number:03}.png").touch()
    run = tmp_path / "r"
    assert cli.run(command(run, "--studies", f"folder:{tmp_path / 'scans'}")) == 0
    shown = capsys.readouterr().out
    assert shown.count("left out: ") == 21
    assert f"left out: 230 in all; every one is listed in {run / FILE_NAME}" in shown
    assert len(listed(run)) == 230
    assert len(summary(run)["left_out_reasons"]) == 200
    assert list(summary(run)["left_out"].values()) == [230]


def test_an_id_that_two_sources_give_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(("one/a", "one/b", "two/a", "two/c")):
        picture(tmp_path / f"{name}.png", number)
    run = tmp_path / "r"
    sources = [f"folder:{tmp_path / name}" for name in ("one", "two")]
    assert cli.run(command(run, "--studies", sources[0], "--studies", sources[1])) == 0
    assert ids(run) == ["a", "b", "c"]
    (row,) = listed(run)
    assert (row["source"], row["field"], row["lost"]) == (sources[1], "study_id", "yes")
    assert sources[0] in row["reason"]
    kept = [study.images["frontal"] for study in RunStudies(config(tmp_path / "one", tmp_path / "two"), ids(run))]
    assert kept == [tmp_path / "one/a.png", tmp_path / "one/b.png", tmp_path / "two/c.png"]
    capsys.readouterr()
    strict = command(tmp_path / "s", "--studies", sources[0], "--studies", sources[1], "--strict")
    assert cli.run(strict) == 2
    assert "two/a.png, field 'study_id'" in capsys.readouterr().err


class Meddler(Reporter):
    """Does something to the world when a stage has come so far."""

    def __init__(self, after: int, action: Callable[[], object]) -> None:
        super().__init__(io.StringIO())
        self._after, self._action = after, action

    @contextmanager
    def stage(self, title: str) -> Iterator[Progress]:
        def progress(done: int, total: int, note: str = "") -> None:
            if done == self._after:
                self._action()

        yield progress


def test_files_that_vanish_in_the_middle_do_not_stop_a_run(tmp_path: Path) -> None:
    for number in range(6):
        picture(tmp_path / "scans" / f"{number}.png", number)
    run = Run.create(tmp_path / "r")

    def meddle() -> None:
        (tmp_path / "scans" / "0.png").unlink()  # read long ago
        (tmp_path / "scans" / "3.png").unlink()
        (tmp_path / "scans" / "4.png").write_text("overwritten")

    cache(run, config(tmp_path / "scans"), Work(Meddler(2, meddle)), batch_size=1)
    assert ids(run.path) == ["0", "1", "2", "5"]
    assert [(row["study_id"], row["lost"]) for row in listed(run.path)] == [("3", "yes"), ("4", "yes")]
    assert [row["reason"].split(";")[0] for row in listed(run.path)] == [
        "does not exist",
        "is not an image, or its beginning is damaged",
    ]
    again = [study.study_id for study in RunStudies(config(tmp_path / "scans"), ids(run.path))]
    assert again == ["1", "2", "5"]  # what is not there any more cannot be read again


def test_a_file_that_breaks_between_opening_and_the_model_is_of_no_account(tmp_path: Path, model: ReportModel) -> None:
    picture(tmp_path / "scans" / "a.png")
    sources = read_sources(open_sources(config(tmp_path / "scans")), LeftOut(tmp_path / FILE_NAME), ())
    (study,) = next(iter(sources.values()))
    shutil.rmtree(tmp_path / "scans")
    assert model.encode(study).pixel_values_nchw is not None
    assert model.preview(study, "frontal").any()


@pytest.mark.parametrize("killed", [False, True])
def test_a_stopped_run_goes_on_whatever_became_of_its_files(tmp_path: Path, model: ReportModel, killed: bool) -> None:
    """The numbers of the studies stay as they were: what was left out stays so, what is stored is not read again."""
    scans = tmp_path / "scans"
    for number in range(6):
        picture(scans / f"{number}.png", number)
    (scans / "1.png").write_text("broken")

    def attempt(stop: bool) -> None:
        left_out = LeftOut(tmp_path / FILE_NAME)
        opened = open_sources(config(scans))
        store = tmp_path / "activations"
        stored = StudyIndex.read(tmp_path, allow_incomplete=True).frame["study_id"] if store.is_dir() else ()
        left_out.begin()

        def progress(done: int, total: int) -> None:
            if stop and done == 3:
                raise KeyboardInterrupt

        options: dict[str, Any] = {"roles": ["image"], "batch_size": 1, "shard_rows": 1, "max_new_tokens": 2}
        sources = read_sources(opened, left_out, set(stored))
        try:
            cache_activations(model, sources, [SITE], store, progress=progress, **options)
        finally:
            if not (stop and killed):  # who is killed writes no more
                left_out.finish({name: source.skipped for name, source in opened.items()})

    with pytest.raises(KeyboardInterrupt):
        attempt(stop=True)
    picture(scans / "1.png", 1)  # mended
    (scans / "2.png").write_text("broken")  # stored
    (scans / "4.png").write_text("broken")
    if killed:
        with (tmp_path / FILE_NAME).open("a") as file:
            file.write("folder:x,half a li")
    attempt(stop=False)
    assert ids(tmp_path) == ["0", "2", "3", "5"]
    assert [row["study_id"] for row in listed(tmp_path)] == ["1", "4"]


def test_the_list_comes_back_as_it_was_written(tmp_path: Path) -> None:
    left_out = LeftOut(tmp_path / FILE_NAME)
    left_out.begin()
    hard = Skipped(Path("a\nb,\"c'.png"), 7, 'a "field", x', "a reason\nof two lines", lost=True)
    left_out.add("two", "id", hard)
    left_out.finish({"one": [Skipped(Path("x"), None, None, "note")], "two": []})
    (first, second) = LeftOut(tmp_path / FILE_NAME).entries
    assert (first.source, first.study_id, first.what.lost, first.what.row) == ("one", None, False, None)
    assert (second.what.row, second.what.field, second.what.reason) == (hard.row, hard.field, hard.reason)
    assert second.study_id == "id"
    assert (tmp_path / FILE_NAME).read_text().splitlines()[0] == ",".join(COLUMNS)


def test_no_id_of_a_study_writes_outside_the_run(tmp_path: Path) -> None:
    scans, run = tmp_path / "scans", tmp_path / "deep" / "runs" / "r"
    hostile = ("../../x", str(tmp_path / "owned"), "..", "a/../../b", "nul\0", "x" * 4000, "Ünï\ncöde", "~", "-rf")
    rows = []
    for number, name in enumerate(hostile):
        picture(scans / f"{number}.png", number)
        rows.append(f'"{name}","{name}",{number}')
    (scans / "studies.csv").write_text("study_id,patient_id,image_id\n" + "\n".join(rows) + "\n")
    before = set(tmp_path.rglob("*"))
    assert cli.run(command(run, "--studies", f"folder:{scans}")) == 0
    made = set(tmp_path.rglob("*")) - before - {run, *run.parents}
    assert made
    assert all(path.is_relative_to(run) for path in made)
    assert len(set(ids(run))) == len(hostile)
    assert all(Path(study_id).name == study_id for study_id in ids(run))


def test_a_strict_source_that_breaks_in_the_middle_stops_there(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / "scans" / f"{number}.png", number)
    run = Run.create(tmp_path / "r")
    break_it = Meddler(1, (tmp_path / "scans" / "2.png").unlink)
    with pytest.raises(InputError, match=r"2\.png: does not exist"):
        cache(run, config(tmp_path / "scans"), Work(break_it), batch_size=1, strict=True)
    stage = run.stage("cache")
    assert stage is not None
    assert stage.state == "failed"
