"""Laws of the command line: quick help, exit statuses, one message that says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from interp import cli
from interp.help_pages import helps, pages
from interp.run import Run

DOCS = Path(__file__).parents[2] / "docs"


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of a command run in this process."""
    status = cli.run(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from interp import cli; status = cli.run(['--help']); "
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'pyarrow', 'plotly', 'rich', 'h5py'} & set(sys.modules); "
        "assert not heavy, heavy; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "interp demo" in done.stdout


def test_every_command_teaches_by_example() -> None:
    for name, text in helps():
        if name not in {"interp", "interp phantom"}:
            assert f"\n    {name}" in text, name
        assert "\b" not in text


def test_the_page_of_commands_is_up_to_date() -> None:
    assert (DOCS / "cli.md").read_text() == pages(), "run `make docs`"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cache", "--run", "{tmp}/r"), "Missing option"),
        (("nonsense",), "No such command"),
        (("eval-sae", "--run", "{tmp}/nowhere"), "does not exist"),
        (("index", "--run", "{tmp}/file.txt"), "is a file"),
        (("index", "--run", "{tmp}/other"), "not a run of interp"),
        (("index", "--run", "{tmp}/newer"), "format version 7"),
        (("index", "--run", "{tmp}/young"), "Run `interp cache --run"),
        (("train-sae", "--run", "{tmp}/young", "--site", "language.2"), "Run `interp cache --run"),
        (("steer", "--run", "{tmp}/young"), "either --feature or --spec"),
        (("steer", "--run", "{tmp}/young", "--feature", "1", "--strength", "much"), "give numbers"),
        (("steer", "--run", "{tmp}/young", "--feature", "1", "--finding", "x"), "Run `interp index --run"),
        (("import", "--run", "{tmp}/young"), "either --from or --labels"),
        (("demo", "--run", "{tmp}/d", "--images", "{tmp}/empty"), "is empty"),
        (("demo", "--run", "{tmp}/d", "--images", "{tmp}/other"), "holds no images"),
        (("demo", "--run", "{tmp}/d", "--images", "{tmp}/nowhere"), "does not exist"),
        (("demo", "--run", "{tmp}/other"), "not a run of interp"),
        (("cache", "--run", "{tmp}/r", "--studies", "nonsense:x", "--site", "language.2"), "not a known scheme"),
        (("cache", "--run", "{tmp}/r", "--studies", "folder:{tmp}/nowhere", "--site", "language.2"), "nowhere"),
        (("dashboard", "--run", "{tmp}/other", "--export", "{tmp}/x.html"), "not a run of interp"),
    ],
)
def test_wrong_input_is_one_message_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "run.json").write_text(json.dumps({"kind": "interp-run", "version": 7}))
    Run.create(tmp_path / "young")
    status, out, err = run_cli(capsys, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert status == 2
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert err.count("Error:") == 1
    assert not out
    assert not (tmp_path / "r").exists(), "nothing is made where nothing can be done"
    assert not (tmp_path / "d").exists()


def test_a_fault_of_ours_is_status_1_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(root: Path = Path()) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("interp.doctor.examine", broken)
    status, _, err = run_cli(capsys, "doctor")
    assert status == 1
    assert "ZeroDivisionError" in err
    assert "--debug" in err
    assert "Traceback" not in err
    status, _, err = run_cli(capsys, "doctor", "--debug")
    assert status == 1
    assert "Traceback" in err


def test_a_full_disk_is_said_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(root: Path = Path()) -> None:
        raise OSError(28, "No space left on device", "/runs/x.h5")

    monkeypatch.setattr("interp.doctor.examine", full)
    status, _, err = run_cli(capsys, "doctor")
    assert status == 2
    assert "disk is full (/runs/x.h5)" in err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(capsys, "--version") == (0, "interp 0.1.0\n", "")


def test_doctor_says_what_it_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run_cli(capsys, "doctor")
    assert status in (0, 2)
    for word in ("Python", "torch", "phantom weights", "GPU", "disk", "memory", "browser"):
        assert word in out
    assert (status == 2) == any(line.startswith("fail") for line in out.splitlines())


def test_exported_saes_come_back_the_same(tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    import torch

    shutil.copytree(tiny_run.path, tmp_path / "r")
    for to in ("saelens", "dictionary-learning"):
        out = str(tmp_path / to)
        assert run_cli(capsys, "export", "--run", str(tmp_path / "r"), "--to", to, "--out", out)[0] == 0
        arguments = ("import", "--run", str(tmp_path / "r"), "--from", out, "--site", "language.2", "--sae", to)
        assert run_cli(capsys, *arguments)[0] == 0
        run = Run.open(tmp_path / "r")
        x_nd = torch.randn(5, 128, generator=torch.Generator().manual_seed(0)) * 3
        torch.testing.assert_close(run.sae_named(to).encode_dense(x_nd), run.sae.encode_dense(x_nd))
        assert run.is_done(f"train-sae:{to}")
    status, _, err = run_cli(capsys, "export", "--run", str(tmp_path / "r"), "--to", "saelens", "--out", out)
    assert status == 2
    assert "something already" in err


def test_ctrl_c_is_how_serving_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(run: Path, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dashboards.app.server.serve", stopped)
    assert run_cli(capsys, "dashboard", "--run", str(tmp_path)) == (0, "", "")
