from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sae import open_sae
from sae.errors import SAEError
from sae.formats.saelens import read_saelens, write_saelens
from sae.model import MatryoshkaSAE

MakeSAE = Callable[..., MatryoshkaSAE]


def rows(n: int = 50) -> torch.Tensor:
    return 2 * torch.randn(n, 12, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ours_to_theirs_to_ours_is_exact(make_sae: MakeSAE, tmp_path: Path, dtype: str) -> None:
    sae = make_sae(dtype=dtype)
    sae.extra, sae.training_config = {"site": "language.15"}, {"n_tokens": 9}
    write_saelens(sae, tmp_path)
    loaded = open_sae(tmp_path)
    assert loaded.config == sae.config
    assert (loaded.extra, loaded.training_config) == (sae.extra, sae.training_config)
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in sae.state_dict().items())


def test_saelens_opens_our_export_and_ours_opens_theirs(make_sae: MakeSAE, tmp_path: Path) -> None:
    import sae_lens

    sae, x_nd = make_sae(), rows()
    write_saelens(sae, tmp_path / "ours", model_name="phantom", hook_name="blocks.15.hook_resid_post")
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "ours")
    assert theirs.cfg.architecture() == "jumprelu"
    assert theirs.cfg.metadata.hook_name == "blocks.15.hook_resid_post"
    acts_nf = theirs.encode(x_nd)
    torch.testing.assert_close(acts_nf, sae.encode(x_nd).dense(), atol=1e-5, rtol=0)
    torch.testing.assert_close(theirs.decode(acts_nf), sae(x_nd), atol=1e-5, rtol=1e-5)

    theirs.save_model(tmp_path / "theirs")
    back = open_sae(tmp_path / "theirs")
    assert back.config == sae.config
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in sae.state_dict().items())

    # A foreign one: free decoder norms, a threshold for each feature, b_dec not applied to the input.
    config = sae_lens.JumpReLUSAEConfig(d_in=12, d_sae=20, apply_b_dec_to_input=False)
    foreign = sae_lens.JumpReLUSAE(config)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for tensor in (foreign.W_enc, foreign.W_dec, foreign.b_enc, foreign.b_dec):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        foreign.threshold.copy_(torch.rand(20, generator=generator))
    foreign.save_model(tmp_path / "foreign")
    read = open_sae(tmp_path / "foreign")
    norms_f = foreign.W_dec.norm(dim=1)
    expected_nf = foreign.encode(x_nd) * norms_f
    torch.testing.assert_close(read.encode(x_nd).dense(), expected_nf, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(read(x_nd), foreign(x_nd), atol=1e-4, rtol=1e-4)
    assert read.k is None
    assert read.groups == (20,)


def edit(folder: Path, **fields: Any) -> Path:
    path = folder / "cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return folder


def test_a_relu_autoencoder_has_a_threshold_of_zero(make_sae: MakeSAE, tmp_path: Path) -> None:
    sae = make_sae()
    sae.threshold.zero_()
    write_saelens(sae, tmp_path)
    tensors = load_file(tmp_path / "sae_weights.safetensors")
    del tensors["threshold"]
    save_file(tensors, tmp_path / "sae_weights.safetensors")
    read = read_saelens(edit(tmp_path, architecture="standard"))
    assert torch.equal(read.encode(rows()).dense(), sae.encode(rows()).dense())


def test_what_would_change_the_features_is_refused(make_sae: MakeSAE, tmp_path: Path) -> None:
    write_saelens(make_sae(), tmp_path)
    with pytest.raises(SAEError, match="architecture is 'topk'"):
        open_sae(edit(tmp_path, architecture="topk"))
    with pytest.raises(SAEError, match="normalize_activations is 'layer_norm'"):
        open_sae(edit(tmp_path, architecture="jumprelu", normalize_activations="layer_norm"))
    with pytest.raises(SAEError, match="d_sae is 47"):
        open_sae(edit(tmp_path, normalize_activations="none", d_sae=47))
    edit(tmp_path, d_sae=48)
    tensors = load_file(tmp_path / "sae_weights.safetensors")
    del tensors["threshold"]
    save_file(tensors, tmp_path / "sae_weights.safetensors")
    with pytest.raises(SAEError, match="no tensor 'threshold'"):
        open_sae(tmp_path)
