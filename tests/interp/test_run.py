"""Laws of the run directory: what is refused, what is skipped, what is done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interp.run import Run
from radiology.errors import InputError


def do(run: Run, name: str = "cache", config: dict[str, Any] | None = None, **options: Any) -> tuple[int, bool]:
    """Do a stage that writes one file; (how often the work ran, skipped)."""
    target = run.path / f"{name.replace(':', '-')}.txt"
    calls = 0

    def work() -> dict[str, int]:
        nonlocal calls
        calls += 1
        target.write_text("x")
        return {"rows": 3}

    result = run.do(name, config or {"n": 1}, [target], work, **options)
    assert result.summary == {"rows": 3}
    return calls, result.skipped


def test_a_run_is_what_was_written_when_opened_again(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r", ["interp", "demo"])
    do(run)
    again = Run.open(tmp_path / "r")
    assert again.record == run.record
    assert again.record.command == ["interp", "demo"]
    assert again.record.versions["torch"]
    assert again.require("cache").state == "done"


def test_a_stage_is_done_once(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r")
    assert do(run) == (1, False)
    assert do(run) == (0, True)
    assert do(Run.open(run.path)) == (0, True)


def test_a_stage_whose_output_is_gone_is_done_again(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r")
    do(run)
    (run.path / "cache.txt").unlink()
    assert not run.is_done("cache")
    assert do(run) == (1, False)


def test_other_settings_are_refused_and_replaced_only_on_request(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r")
    do(run, config={"n": 1, "site": "language.2"})
    with pytest.raises(InputError, match=r"n: 1 → 2.*--redo"):
        do(run, config={"n": 2, "site": "language.2"})
    assert run.is_done("cache")
    assert do(run, config={"n": 2, "site": "language.2"}, redo=True) == (1, False)


def test_a_later_stage_is_stale_when_an_earlier_one_changed(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r")
    do(run)
    assert do(run, "index", after=("cache",)) == (1, False)
    assert do(run, "index", after=("cache",)) == (0, True)
    do(run, config={"n": 2}, redo=True)
    with pytest.raises(InputError, match="an earlier stage was done again"):
        do(run, "index", after=("cache",))
    assert do(run, "index", after=("cache",), redo=True) == (1, False)


def test_a_stage_wants_the_stages_before_it(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r")
    with pytest.raises(InputError, match="Run `interp cache --run"):
        do(run, "index", after=("cache",))


@pytest.mark.parametrize(
    ("error", "state"), [(KeyboardInterrupt(), "pending"), (OSError(28, "No space left on device"), "failed")]
)
def test_a_stage_that_broke_off_goes_on_with_what_it_had(tmp_path: Path, error: BaseException, state: str) -> None:
    run = Run.create(tmp_path / "r")
    half = run.path / "half"

    def breaks() -> dict[str, int]:
        half.write_text("half")
        raise error

    with pytest.raises(type(error)):
        run.do("cache", {"n": 1}, [half], breaks)
    assert Run.open(run.path).record.stages["cache"].state == state
    found: list[str] = []

    def goes_on() -> dict[str, int]:
        found.append(half.read_text())
        return {}

    assert not run.do("cache", {"n": 1}, [half], goes_on).skipped
    assert found == ["half"]


def test_half_work_of_other_settings_is_removed_with_redo(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r")
    half = run.path / "half"

    def breaks() -> dict[str, int]:
        half.mkdir()
        (half / "part").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.do("cache", {"n": 1}, [half], breaks)

    def fresh() -> dict[str, int]:
        assert not half.exists()
        half.mkdir()
        return {}

    run.do("cache", {"n": 2}, [half], fresh, redo=True)


def test_a_stage_that_wrote_nothing_is_not_done(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r")
    with pytest.raises(RuntimeError, match="without writing"):
        run.do("cache", {}, [run.path / "never"], dict)
    assert run.record.stages["cache"].state == "failed"


def test_a_folder_with_other_things_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("x")
    with pytest.raises(InputError, match="not a run of interp"):
        Run.create(tmp_path)
    with pytest.raises(InputError, match=r"no run\.json"):
        Run.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_a_file_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_text("x")
    with pytest.raises(InputError, match="is a file"):
        Run.create(path)
    with pytest.raises(InputError, match="is a file"):
        Run.open(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"kind": "interp-run", "version": 2}', "format version 2.*Upgrade"),
        ('{"kind": "something", "version": 1}', "not written by interp"),
        ("[1, 2]", "not written by interp"),
        ('{"kind": "interp-run", "version": 1', "damaged"),
        ('{"kind": "interp-run", "version": 1}', "damaged"),
        ('{"kind": "interp-run", "version": "1"}', "field 'version'"),
    ],
)
def test_a_strange_run_file_is_refused_with_its_path(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        Run.create(tmp_path)
    assert str(tmp_path / "run.json") in str(caught.value)


def test_an_unknown_state_is_damage(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r")
    do(run)
    content = json.loads((run.path / "run.json").read_text())
    content["stages"]["cache"]["state"] = "finished"
    (run.path / "run.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="unknown state 'finished'"):
        Run.open(run.path)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r")
    other = Run.open(run.path)
    with run.writing("interp train-sae"):
        with (
            pytest.raises(InputError, match=r"being written by process \d+ \(interp train-sae"),
            other.writing("interp index"),
        ):
            pytest.fail("two writers")
        Run.open(run.path)  # reading is free
    with run.writing("interp index"):
        pass


def test_the_writer_sees_what_another_wrote_before(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r")
    other = Run.open(run.path)
    do(other)
    with run.writing("interp index"):
        assert run.is_done("cache")
