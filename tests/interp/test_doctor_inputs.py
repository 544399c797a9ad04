from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from interp.doctor_inputs import examine_model, examine_studies
from tests.activations.standin import edit_json, write_standin


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin(tmp_path_factory.mktemp("model") / "maira-2")


def states(findings: list) -> dict[str, str]:
    return {finding.what: finding.state for finding in findings}


def test_a_whole_checkpoint_fits_and_its_code_is_named_not_run(checkpoint: Path) -> None:
    (checkpoint / "ran").unlink(missing_ok=True)
    code = checkpoint / "processing_maira2.py"
    original = code.read_text()
    code.write_text(original + "\nfrom pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    findings = list(examine_model(str(checkpoint)))
    code.write_text(original)
    assert states(findings) == {"model": "ok", "weights": "ok", "its own code": "warn", "room for it": "ok"}
    assert str(code) in next(f.detail for f in findings if f.what == "its own code")
    assert not (checkpoint / "ran").exists()


def test_a_tensor_too_few_fails_and_is_named(tmp_path: Path) -> None:
    folder = write_standin(tmp_path / "maira-2")
    shard = sorted(folder.glob("*.safetensors"))[0]
    tensors = load_file(shard)
    dropped = sorted(tensors)[0]
    save_file({name: value for name, value in tensors.items() if name != dropped}, shard)
    index = folder / "model.safetensors.index.json"
    edit_json(index, lambda raw: raw["weight_map"].pop(dropped))
    (finding,) = examine_model(str(folder))
    assert finding.state == "fail"
    assert "1 missing" in finding.detail


def test_a_name_that_was_never_fetched_fails_without_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (finding,) = examine_model("microsoft/maira-2")
    assert finding.state == "fail"
    assert "hf download microsoft/maira-2" in finding.detail


def test_studies_are_really_read_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 50), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    findings = list(examine_studies(f"folder:{tmp_path}"))
    assert "2 with frontal" in " ".join(finding.detail for finding in findings)
    assert [finding.detail for finding in findings if finding.what == "left out"] == [
        finding.detail for finding in findings if "broken.png" in finding.detail
    ]


def test_a_source_that_is_not_there_fails(tmp_path: Path) -> None:
    (finding,) = examine_studies(f"folder:{tmp_path / 'nowhere'}")
    assert finding.state == "fail"
    assert "does not exist" in finding.detail
