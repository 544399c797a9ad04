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
from sae.formats.dictionary_learning import write_dictionary_learning
from sae.formats.saelens import write_saelens
from sae.model import MatryoshkaSAE

MakeSAE = Callable[..., MatryoshkaSAE]

D, F = 12, 48


def some_rows(n: int = 50) -> torch.Tensor:
    return 2 * torch.randn(n, D, generator=torch.Generator().manual_seed(4))


def edit(folder: Path, **fields: Any) -> Path:
    """Fields of cfg.json set, or taken out where None."""
    path = folder / "cfg.json"
    settings = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({name: value for name, value in settings.items() if value is not None}))
    return folder


def edit_tensors(folder: Path, **changes: torch.Tensor | None) -> Path:
    path = folder / "sae_weights.safetensors"
    tensors = {**load_file(path), **changes}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    return folder


def randomise(sae: Any, seed: int = 6) -> None:
    """Random weights with decoder rows of all lengths."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (sae.W_enc, sae.W_dec, sae.b_enc, sae.b_dec):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("per_feature", [False, True])
def test_ours_to_theirs_to_ours_is_exact(make_sae: MakeSAE, tmp_path: Path, dtype: str, per_feature: bool) -> None:
    sae = make_sae(dtype=dtype)
    if per_feature:
        sae.threshold = torch.full((F,), 0.4)
    sae.extra, sae.training_config = {"site": "language.15"}, {"n_tokens": 9}
    write_saelens(sae, tmp_path)
    loaded = open_sae(tmp_path)
    assert loaded.config == sae.config
    assert (loaded.extra, loaded.training_config) == (sae.extra, sae.training_config)
    for name, tensor in sae.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
        assert loaded.state_dict()[name].shape == tensor.shape


@pytest.mark.parametrize("per_feature", [False, True])
def test_saelens_opens_our_export_and_ours_opens_theirs(make_sae: MakeSAE, tmp_path: Path, per_feature: bool) -> None:
    import sae_lens

    sae, x_nd = make_sae(), some_rows()
    if per_feature:
        sae.threshold = torch.linspace(0, 1, F)
    write_saelens(sae, tmp_path / "ours", model_name="phantom", hook_name="blocks.15.hook_resid_post")
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "ours")
    assert theirs.cfg.architecture() == "jumprelu"
    assert theirs.cfg.metadata.hook_name == "blocks.15.hook_resid_post"
    assert torch.equal(theirs.threshold.detach(), sae.threshold.expand(F))
    acts_nf = theirs.encode(x_nd)
    torch.testing.assert_close(acts_nf, sae.encode(x_nd).dense(), atol=1e-5, rtol=0)
    torch.testing.assert_close(theirs.decode(acts_nf), sae(x_nd), atol=1e-5, rtol=1e-5)

    theirs.save_model(tmp_path / "theirs")
    back = open_sae(tmp_path / "theirs")
    assert back.config == sae.config
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in sae.state_dict().items())


def test_jumprelu_with_free_rows_and_an_input_that_is_not_centred(tmp_path: Path) -> None:
    import sae_lens

    foreign, x_nd = sae_lens.JumpReLUSAE(sae_lens.JumpReLUSAEConfig(D, F, apply_b_dec_to_input=False)), some_rows()
    randomise(foreign)
    with torch.no_grad():
        foreign.threshold.copy_(torch.rand(F, generator=torch.Generator().manual_seed(7)))
    foreign.cfg.metadata.hook_name = "blocks.3.hook_resid_post"
    foreign.save_model(tmp_path)
    read = open_sae(tmp_path)
    expected_nf = foreign.encode(x_nd) * foreign.W_dec.norm(dim=1)
    torch.testing.assert_close(read.encode(x_nd).dense(), expected_nf, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(read(x_nd), foreign(x_nd), atol=1e-4, rtol=1e-5)
    assert (read.k, read.groups) == (None, (F,))
    assert read.extra["saelens"]["hook_name"] == "blocks.3.hook_resid_post"
    assert len(read.extra["notes"]) == 2


def test_a_relu_autoencoder_has_a_threshold_of_zero(tmp_path: Path) -> None:
    import sae_lens

    foreign, x_nd = sae_lens.StandardSAE(sae_lens.StandardSAEConfig(D, F)), some_rows()
    randomise(foreign)
    foreign.save_model(tmp_path)
    read = open_sae(tmp_path)
    assert torch.equal(read.threshold, torch.zeros(()))
    expected_nf = foreign.encode(x_nd) * foreign.W_dec.norm(dim=1)
    torch.testing.assert_close(read.encode(x_nd).dense(), expected_nf, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("matryoshka", [True, False])
def test_trained_by_saelens_as_a_checkpoint_and_as_saved_for_inference(
    tmp_path: Path, matryoshka: bool, rescale: bool
) -> None:
    import sae_lens

    settings: dict[str, Any] = {"d_in": D, "d_sae": F, "k": 4, "rescale_acts_by_decoder_norm": rescale}
    trained: Any
    if matryoshka:
        widths = [8, 24, F]
        trained = sae_lens.MatryoshkaBatchTopKTrainingSAE(
            sae_lens.MatryoshkaBatchTopKTrainingSAEConfig(matryoshka_widths=widths, **settings)
        )
    else:
        trained = sae_lens.BatchTopKTrainingSAE(sae_lens.BatchTopKTrainingSAEConfig(**settings))
    randomise(trained)
    trained.topk_threshold.fill_(0.8)
    trained.save_model(tmp_path / "checkpoint")
    trained.save_inference_model(tmp_path / "inference")
    inference: Any = sae_lens.SAE.load_from_disk(tmp_path / "inference")
    x_nd = some_rows()
    expected_nf = inference.encode(x_nd) * inference.W_dec.norm(dim=1)
    for folder in ("checkpoint", "inference"):
        read = open_sae(tmp_path / folder)
        assert (read.k, read.groups) == (4, (8, 16, 24) if matryoshka else (F,))
        torch.testing.assert_close(read.encode(x_nd).dense(), expected_nf, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(read(x_nd), inference(x_nd), atol=1e-4, rtol=1e-5)


def test_a_known_scale_of_the_input_is_folded_and_an_unknown_one_refused(make_sae: MakeSAE, tmp_path: Path) -> None:
    sae, x_nd = make_sae(), some_rows()
    write_saelens(sae, tmp_path)
    edit(tmp_path, normalize_activations="expected_average_only_in", metadata={})
    with pytest.raises(SAEError, match=r"factor that the folder does not hold; put activation_scaler\.json"):
        open_sae(tmp_path)
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 2.5}))
    read = open_sae(tmp_path)
    # A row of norm 1 that is divided by the scale and made 1 again divides the activations.
    expected_nf = sae.encode(2.5 * x_nd).dense() / 2.5
    torch.testing.assert_close(read.encode(x_nd).dense(), expected_nf, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(read(x_nd), sae(2.5 * x_nd) / 2.5, atol=1e-5, rtol=1e-5)
    assert "multiplied by 2.5" in read.extra["notes"][0]
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": None}))
    with pytest.raises(SAEError, match="scaling_factor is None"):
        open_sae(tmp_path)


def test_a_configuration_from_before_version_6(make_sae: MakeSAE, tmp_path: Path) -> None:
    sae = make_sae(groups=(F,))
    sae.threshold.zero_()
    write_saelens(sae, tmp_path)
    edit_tensors(tmp_path, threshold=None)
    old = {"d_in": D, "d_sae": F, "dtype": "torch.float32", "hook_point": "blocks.8.hook_resid_pre"}
    (tmp_path / "cfg.json").write_text(json.dumps({**old, "activation_fn_str": "relu", "normalize_activations": False}))
    read = open_sae(tmp_path)
    assert torch.equal(read.encode(some_rows()).dense(), sae.encode(some_rows()).dense())
    assert read.extra["saelens"] == {"hook_point": "blocks.8.hook_resid_pre"}
    edit(tmp_path, activation_fn_str="topk")
    with pytest.raises(SAEError, match="architecture is None"):
        open_sae(tmp_path)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"architecture": "topk"}, "architecture is 'topk', which keeps the k largest activations of each token"),
        ({"architecture": "gated"}, "architecture is 'gated'"),
        ({"architecture": "standard"}, "also holds 'threshold'"),
        ({"architecture": "batchtopk"}, "no tensor 'topk_threshold'"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations is 'layer_norm': each token"),
        ({"normalize_activations": "covariance_whitening"}, "normalize_activations is 'covariance_whitening'; fold"),
        ({"reshape_activations": "hook_z"}, "reshape_activations is 'hook_z'"),
        ({"finetuning_scaling_factor": True}, "finetuning_scaling_factor is set"),
        ({"d_in": 13}, r"d_in is 13, but the weights in sae_weights\.safetensors have 12"),
        ({"d_sae": 47}, "d_sae is 47"),
        ({"dtype": "bfloat16"}, "dtype is bfloat16, but the weights in sae_weights.safetensors have float32"),
        ({"metadata": {"training_architecture_details": {"matryoshka_widths": [8, 47]}}}, "matryoshka_widths is 47"),
        ({"metadata": {"training_architecture_details": {"matryoshka_widths": [8, 8, F]}}}, "must rise"),
        ({"metadata": {"training_architecture_details": {"k": 99}}}, "k = 99"),
    ],
)
def test_settings_that_change_the_features_are_refused(
    make_sae: MakeSAE, tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    write_saelens(make_sae(), tmp_path)
    with pytest.raises(SAEError, match=reason):
        open_sae(edit(tmp_path, **fields))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"threshold": None}, "no tensor 'threshold'"),
        ({"threshold": torch.full((F,), -0.1)}, "threshold is -0.1: it was never set"),
        ({"threshold": torch.full((F,), float("nan"))}, "threshold holds 48 NaN"),
        ({"threshold": torch.zeros(5)}, r"threshold has shape \(5,\)"),
        ({"W_dec": torch.zeros(F, D + 1)}, r"W_dec has shape \(48, 13\)"),
        ({"b_enc": torch.zeros(F).half()}, r"b_enc is torch\.float16, but W_enc is float32"),
        ({"W_enc": torch.zeros(D)}, r"W_enc has shape \(12,\), must be \(d, F\)"),
        ({"b_dec": torch.full((D,), float("inf"))}, "b_dec holds 12 NaN or infinite"),
        ({"scaling_factor": torch.ones(F)}, "also holds 'scaling_factor'"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_with_the_reason(
    make_sae: MakeSAE, tmp_path: Path, changes: dict[str, torch.Tensor | None], reason: str
) -> None:
    write_saelens(make_sae(), tmp_path)
    with pytest.raises(SAEError, match=reason) as caught:
        open_sae(edit_tensors(tmp_path, **changes))
    assert "sae_weights.safetensors" in str(caught.value)


def test_a_threshold_of_zero_is_not_a_missing_one(make_sae: MakeSAE, tmp_path: Path) -> None:
    sae = make_sae()
    sae.threshold.zero_()
    write_saelens(sae, tmp_path)
    assert torch.equal(open_sae(tmp_path).encode(some_rows()).dense(), sae.encode(some_rows()).dense())


def test_a_half_precision_file_with_free_rows_is_not_rounded_twice(tmp_path: Path) -> None:
    import sae_lens

    foreign = sae_lens.JumpReLUSAE(sae_lens.JumpReLUSAEConfig(D, F, dtype="bfloat16"))
    randomise(foreign)
    foreign.save_model(tmp_path)
    read, x_nd = open_sae(tmp_path), some_rows()
    assert read.config.dtype == "float32"
    torch.testing.assert_close(read(x_nd), foreign.to(torch.float32)(x_nd), atol=1e-4, rtol=1e-5)


def test_from_one_tool_to_the_other(tmp_path: Path) -> None:
    import sae_lens

    foreign = sae_lens.JumpReLUSAE(sae_lens.JumpReLUSAEConfig(D, F))
    randomise(foreign)
    foreign.save_model(tmp_path / "saelens")
    read, x_nd = open_sae(tmp_path / "saelens"), some_rows()
    write_dictionary_learning(read, tmp_path / "dictionary")
    write_saelens(open_sae(tmp_path / "dictionary"), tmp_path / "again")
    again: Any = sae_lens.SAE.load_from_disk(tmp_path / "again")
    torch.testing.assert_close(again(x_nd), foreign(x_nd), atol=1e-4, rtol=1e-5)
