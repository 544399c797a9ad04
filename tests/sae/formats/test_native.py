from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file

from sae.errors import SAEError
from sae.model import MatryoshkaSAE

MakeSAE = Callable[..., MatryoshkaSAE]


def edit_config(folder: Path, **fields: Any) -> None:
    path = folder / "cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    path = folder / "sae.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_autoencoder_comes_back_as_it_was(make_sae: MakeSAE, tmp_path: Path, dtype: str) -> None:
    sae = make_sae(dtype=dtype)
    sae.training_config = {"n_tokens": 5}
    sae.save(tmp_path, extra={"site": "language.15", "roles": ["image"]})
    loaded = MatryoshkaSAE.load(tmp_path)
    assert loaded.config == sae.config
    assert loaded.extra == {"site": "language.15", "roles": ["image"]}
    assert loaded.training_config == {"n_tokens": 5}
    for name, tensor in sae.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
        assert loaded.state_dict()[name].dtype == tensor.dtype


def test_a_threshold_for_each_feature_is_kept(make_sae: MakeSAE, tmp_path: Path) -> None:
    sae = make_sae()
    sae.threshold = torch.linspace(0, 1, sae.n_features)
    sae.save(tmp_path)
    assert torch.equal(MatryoshkaSAE.load(tmp_path).threshold, sae.threshold)


def test_ten_lines_of_numpy_read_the_form(make_sae: MakeSAE, tmp_path: Path) -> None:
    sae = make_sae()
    sae.save(tmp_path)
    weights = load_numpy(tmp_path / "sae.safetensors")
    x_nd = np.random.default_rng(0).normal(size=(9, 12)).astype(np.float32)
    pre_nf = (x_nd - weights["b_dec"]) @ weights["W_enc"].T + weights["b_enc"]
    acts_nf = np.where(pre_nf > weights["threshold"], pre_nf, 0)
    recon_nd = acts_nf @ weights["W_dec"] + weights["b_dec"]
    np.testing.assert_allclose(sae(torch.from_numpy(x_nd)).detach().numpy(), recon_nd, atol=1e-5)


@pytest.mark.parametrize("name", ["W_enc", "b_enc", "W_dec", "b_dec", "threshold"])
def test_a_missing_tensor_is_never_made_up(make_sae: MakeSAE, tmp_path: Path, name: str) -> None:
    make_sae().save(tmp_path)
    edit_tensors(tmp_path, lambda tensors: tensors.pop(name))
    with pytest.raises(SAEError, match=f"no tensor '{name}'"):
        MatryoshkaSAE.load(tmp_path)


def test_a_tensor_of_unknown_meaning_is_not_left_out(make_sae: MakeSAE, tmp_path: Path) -> None:
    make_sae().save(tmp_path)
    edit_tensors(tmp_path, lambda tensors: tensors.update(gate=torch.zeros(48)))
    with pytest.raises(SAEError, match="also holds 'gate'"):
        MatryoshkaSAE.load(tmp_path)


@pytest.mark.parametrize("name", ["W_enc", "b_enc", "W_dec", "b_dec", "threshold"])
def test_nan_is_refused_by_tensor(make_sae: MakeSAE, tmp_path: Path, name: str) -> None:
    make_sae().save(tmp_path)
    edit_tensors(tmp_path, lambda tensors: tensors[name].reshape(-1)[:1].fill_(float("nan")))
    with pytest.raises(SAEError, match=f"{name} holds 1 NaN"):
        MatryoshkaSAE.load(tmp_path)


def test_tensors_that_disagree_with_the_configuration_are_refused(make_sae: MakeSAE, tmp_path: Path) -> None:
    make_sae().save(tmp_path)
    edit_tensors(tmp_path, lambda tensors: tensors.update(W_dec=tensors["W_dec"][:, :-1].contiguous()))
    with pytest.raises(SAEError, match=r"W_dec has shape \(48, 11\), the configuration says \(48, 12\)"):
        MatryoshkaSAE.load(tmp_path)
    make_sae().save(tmp_path)
    edit_tensors(tmp_path, lambda tensors: tensors.update(b_enc=tensors["b_enc"].half()))
    with pytest.raises(SAEError, match=r"b_enc is torch\.float16"):
        MatryoshkaSAE.load(tmp_path)
    make_sae().save(tmp_path)
    edit_tensors(tmp_path, lambda tensors: tensors["W_dec"][7].mul_(2))
    with pytest.raises(SAEError, match="W_dec row 7 has norm 2"):
        MatryoshkaSAE.load(tmp_path)
    make_sae().save(tmp_path)
    edit_tensors(tmp_path, lambda tensors: tensors["threshold"].fill_(-1))
    with pytest.raises(SAEError, match="never set"):
        MatryoshkaSAE.load(tmp_path)


def test_headers_that_cannot_be_trusted_are_refused(make_sae: MakeSAE, tmp_path: Path) -> None:
    sae = make_sae()
    sae.save(tmp_path)
    edit_config(tmp_path, version=2)
    with pytest.raises(SAEError, match="version 2, this program knows 1"):
        MatryoshkaSAE.load(tmp_path)
    edit_config(tmp_path, version=1, kind="transcoder")
    with pytest.raises(SAEError, match="kind is 'transcoder'"):
        MatryoshkaSAE.load(tmp_path)
    sae.save(tmp_path)
    edit_config(tmp_path, sae={**sae.config.to_dict(), "k": 0})
    with pytest.raises(SAEError, match="k = 0"):
        MatryoshkaSAE.load(tmp_path)
    sae.save(tmp_path)
    (tmp_path / "sae.safetensors").write_bytes(b"short")
    with pytest.raises(SAEError, match="not a whole safetensors file"):
        MatryoshkaSAE.load(tmp_path)


def test_extra_must_be_json(make_sae: MakeSAE, tmp_path: Path) -> None:
    with pytest.raises(SAEError, match="JSON values only"):
        make_sae().save(tmp_path, extra={"site": object()})
    assert not list(tmp_path.iterdir())
