from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sae import open_sae
from sae.errors import SAEError
from sae.formats.dictionary_learning import read_dictionary_learning, write_dictionary_learning
from sae.model import MatryoshkaSAE

MakeSAE = Callable[..., MatryoshkaSAE]
State = dict[str, torch.Tensor]

D, F = 12, 48
LINEAR = ("encoder.weight", "encoder.bias", "decoder.weight")
# What MAIRA-2's released autoencoders look like: the largest group first, shares of 1/2, 1/4, 1/8, 1/16, 1/16.
RELEASED = [24, 12, 6, 3, 3]


def foreign_state(dict_class: str, group_sizes: list[int] | None = None, *, unit_rows: bool = True) -> State:
    """The state dict of one of the library's classes, by its own names and orientations."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    W_dec = draw(F, D)
    if unit_rows:
        W_dec /= W_dec.norm(dim=1, keepdim=True)
    W_enc, b_enc, b_dec = draw(D, F), draw(F), draw(D)
    k, threshold = torch.tensor(4, dtype=torch.int), torch.tensor(0.37)
    matrices = {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": b_dec}
    layers = dict(zip(LINEAR, (W_enc.T.contiguous(), b_enc, W_dec.T.contiguous()), strict=True))
    return {
        "MatryoshkaBatchTopKSAE": {
            "k": k,
            "threshold": threshold,
            "group_sizes": torch.tensor(group_sizes or RELEASED),
            **matrices,
        },
        "BatchTopKSAE": {"k": k, "threshold": threshold, **layers, "b_dec": b_dec},
        "JumpReluAutoEncoder": {**matrices, "threshold": torch.rand(F, generator=generator)},
        "AutoEncoder": {"bias": b_dec, **layers},
        "AutoEncoderNew": {**layers, "decoder.bias": b_dec},
    }[dict_class]


def foreign_features(dict_class: str, state: State, x_nd: torch.Tensor) -> torch.Tensor:
    """What the library's class of that name gives for x, (n, F), by the formulas of its documentation."""
    if dict_class == "MatryoshkaBatchTopKSAE":
        acts_nf = torch.relu((x_nd - state["b_dec"]) @ state["W_enc"] + state["b_enc"])
        return acts_nf * (acts_nf > state["threshold"])
    if dict_class == "BatchTopKSAE":
        acts_nf = torch.relu((x_nd - state["b_dec"]) @ state["encoder.weight"].T + state["encoder.bias"])
        return acts_nf * (acts_nf > state["threshold"])
    if dict_class == "JumpReluAutoEncoder":
        pre_nf = x_nd @ state["W_enc"] + state["b_enc"]
        return torch.relu(pre_nf * (pre_nf > state["threshold"]))
    if dict_class == "AutoEncoder":
        return torch.relu((x_nd - state["bias"]) @ state["encoder.weight"].T + state["encoder.bias"])
    return torch.relu(x_nd @ state["encoder.weight"].T + state["encoder.bias"])


def foreign_decoder(state: State) -> tuple[torch.Tensor, torch.Tensor]:
    """(F, d) rows and (d,) bias."""
    rows_fd = state["W_dec"] if "W_dec" in state else state["decoder.weight"].T
    return rows_fd, next(state[name] for name in ("b_dec", "bias", "decoder.bias") if name in state)


def write_foreign(folder: Path, state: State, trainer: dict[str, Any] | None) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "ae.pt")
    if trainer is not None:
        (folder / "config.json").write_text(
            json.dumps({"trainer": trainer, "buffer": {"d_submodule": D, "ctx_len": 9}})
        )
    return folder


def released(folder: Path, group_sizes: list[int] | None = None) -> State:
    """A folder in the shape of microsoft/maira-2-sae, small."""
    state = foreign_state("MatryoshkaBatchTopKSAE", group_sizes)
    sizes = state["group_sizes"].tolist()
    trainer = {
        "trainer_class": "MatryoshkaBatchTopKTrainer",
        "dict_class": "MatryoshkaBatchTopKSAE",
        "lr": 1e-4,
        "activation_dim": D,
        "dict_size": F,
        "group_fractions": [size / F for size in sizes],
        "group_sizes": sizes,
        "k": 4,
        "layer": 15,
        "lm_name": "microsoft/maira-2",
    }
    write_foreign(folder, state, trainer)
    return state


def some_rows() -> torch.Tensor:
    return torch.randn(30, D, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("group_sizes", [RELEASED, RELEASED[::-1]])
def test_a_folder_like_the_released_one_means_what_its_library_says(tmp_path: Path, group_sizes: list[int]) -> None:
    state = released(tmp_path, group_sizes)
    sae, x_nd = open_sae(tmp_path), some_rows()
    assert sae.groups == tuple(group_sizes)
    assert sae.k == 4
    assert float(sae.threshold) == pytest.approx(0.37)
    acts_nf = foreign_features("MatryoshkaBatchTopKSAE", state, x_nd)
    torch.testing.assert_close(sae.encode(x_nd).dense(), acts_nf, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sae(x_nd), acts_nf @ state["W_dec"] + state["b_dec"], atol=1e-5, rtol=1e-5)
    width = group_sizes[0]
    prefix_nd = acts_nf[:, :width] @ state["W_dec"][:width] + state["b_dec"]
    torch.testing.assert_close(sae.decode(sae.encode(x_nd), 1), prefix_nd, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("unit_rows", [True, False])
@pytest.mark.parametrize(
    "dict_class", ["MatryoshkaBatchTopKSAE", "BatchTopKSAE", "JumpReluAutoEncoder", "AutoEncoder", "AutoEncoderNew"]
)
def test_every_class_gives_its_own_features_times_the_norm_of_their_rows(
    tmp_path: Path, dict_class: str, unit_rows: bool
) -> None:
    state = foreign_state(dict_class, unit_rows=unit_rows)
    sae, x_nd = open_sae(write_foreign(tmp_path, state, {"dict_class": dict_class})), some_rows()
    rows_fd, b_dec = foreign_decoder(state)
    acts_nf = foreign_features(dict_class, state, x_nd)
    norms_f = rows_fd.norm(dim=1)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(F))
    torch.testing.assert_close(sae.encode(x_nd).dense(), acts_nf * norms_f, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sae(x_nd), acts_nf @ rows_fd + b_dec, atol=2e-5, rtol=1e-5)
    notes = " ".join(sae.extra.get("notes", []))
    assert ("decoder rows had norms" in notes) == (not unit_rows)
    assert ("does not subtract b_dec" in notes) == (dict_class in ("JumpReluAutoEncoder", "AutoEncoderNew"))


@pytest.mark.parametrize(
    "dict_class", ["MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder", "AutoEncoder", "AutoEncoderNew"]
)
def test_without_a_configuration_the_tensors_tell_the_class(tmp_path: Path, dict_class: str) -> None:
    state, x_nd = foreign_state(dict_class), some_rows()
    acts_nf = open_sae(write_foreign(tmp_path, state, None)).encode(x_nd).dense()
    torch.testing.assert_close(acts_nf, foreign_features(dict_class, state, x_nd), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dict_class", ["MatryoshkaBatchTopKSAE", "BatchTopKSAE", "AutoEncoder"])
def test_theirs_to_ours_to_theirs_is_exact(tmp_path: Path, dict_class: str) -> None:
    state = foreign_state(dict_class)
    write_foreign(tmp_path / "a", state, {"dict_class": dict_class, "layer": 15, "lr": 1e-4})
    open_sae(tmp_path / "a").save(tmp_path / "b")
    write_dictionary_learning(open_sae(tmp_path / "b"), tmp_path / "c")
    back = torch.load(tmp_path / "c" / "ae.pt", weights_only=True)
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor), name
        assert back[name].dtype == tensor.dtype, name
    config = json.loads((tmp_path / "c" / "config.json").read_text())
    assert config == json.loads((tmp_path / "a" / "config.json").read_text())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ours_to_theirs_to_ours_is_exact(make_sae: MakeSAE, tmp_path: Path, dtype: str) -> None:
    sae = make_sae(dtype=dtype)
    sae.extra, sae.training_config = {"site": "language.15"}, {"n_tokens": 9}
    write_dictionary_learning(sae, tmp_path, layer=15, lm_name="phantom")
    loaded = read_dictionary_learning(tmp_path)
    assert loaded.config == sae.config
    assert (loaded.extra, loaded.training_config) == (sae.extra, sae.training_config)
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in sae.state_dict().items())
    before = (tmp_path / "ae.pt").read_bytes()
    write_dictionary_learning(loaded, tmp_path, layer=15, lm_name="phantom")
    assert (tmp_path / "ae.pt").read_bytes() == before
    trainer = json.loads((tmp_path / "config.json").read_text())["trainer"]
    assert trainer["dict_class"] == "MatryoshkaBatchTopKSAE"
    assert (trainer["layer"], trainer["lm_name"], trainer["k"]) == (15, "phantom", 4)


@pytest.mark.parametrize("per_feature", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_matryoshka_cannot_hold_goes_out_as_jumprelu(
    make_sae: MakeSAE, tmp_path: Path, dtype: str, per_feature: bool
) -> None:
    sae, x_nd = make_sae(dtype=dtype), some_rows()
    if per_feature:
        sae.threshold = torch.full((F,), 0.3)
    else:
        sae.config = replace(sae.config, k=None)
    write_dictionary_learning(sae, tmp_path)
    state = torch.load(tmp_path / "ae.pt", weights_only=True)
    assert state["threshold"].shape == (F,)
    assert state["W_enc"].dtype == torch.float32
    acts_nf = foreign_features("JumpReluAutoEncoder", state, x_nd)
    torch.testing.assert_close(acts_nf, sae.float().encode(x_nd).dense(), atol=1e-5, rtol=1e-5)

    sae.to(getattr(torch, dtype)).threshold = sae.threshold.float()
    loaded = open_sae(tmp_path)
    assert loaded.config == sae.config
    for name, tensor in sae.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_the_bias_kept_beside_jumprelu(make_sae: MakeSAE, tmp_path: Path) -> None:
    sae = make_sae()
    sae.threshold = torch.linspace(0, 1, F)
    write_dictionary_learning(sae, tmp_path)
    kept = tmp_path / "interp.safetensors"
    save_file({"b_enc": sae.b_enc.detach() + 1e-3}, kept)
    with pytest.raises(SAEError, match=r"interp\.safetensors is not of the weights in ae\.pt"):
        open_sae(tmp_path)
    kept.unlink()
    torch.testing.assert_close(open_sae(tmp_path).b_enc, sae.b_enc, atol=1e-5, rtol=0)
    write_dictionary_learning(sae, tmp_path)
    write_dictionary_learning(make_sae(), tmp_path)
    assert not kept.exists()


def test_free_decoder_rows_go_back_out_with_all_groups(tmp_path: Path) -> None:
    state, x_nd = foreign_state("MatryoshkaBatchTopKSAE", unit_rows=False), some_rows()
    folded = open_sae(write_foreign(tmp_path / "a", state, {"dict_class": "MatryoshkaBatchTopKSAE", "k": 4}))
    write_dictionary_learning(folded, tmp_path / "b")
    back = open_sae(tmp_path / "b")
    assert back.config == folded.config
    assert back.extra == folded.extra
    torch.testing.assert_close(back(x_nd), folded(x_nd), atol=1e-5, rtol=1e-5)


class _Intruder:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("by_torch", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, by_torch: bool) -> None:
    mark = tmp_path / "the code ran"
    if by_torch:
        torch.save({"W_enc": _Intruder(mark)}, tmp_path / "ae.pt")
    else:
        (tmp_path / "ae.pt").write_bytes(pickle.dumps({"W_enc": _Intruder(mark)}, protocol=2))
    with pytest.raises(SAEError, match="more than tensors"):
        open_sae(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"threshold": None}, "no tensor 'threshold'"),
        ({"group_sizes": None}, "no tensor 'group_sizes'"),
        ({"k": None}, "no tensor 'k'"),
        ({"W_enc": None}, "no tensor 'W_enc'"),
        ({"running_mean": torch.zeros(3)}, "also holds 'running_mean'"),
        ({"threshold": torch.tensor(-1.0)}, "never set"),
        ({"threshold": torch.tensor(float("nan"))}, "threshold holds 1 NaN"),
        ({"threshold": torch.zeros(5)}, r"threshold has shape \(5,\)"),
        ({"threshold": torch.tensor(1)}, r"threshold is torch\.int64"),
        ({"b_enc": torch.full((F,), float("inf"))}, "b_enc holds 48 NaN or infinite"),
        ({"group_sizes": torch.tensor([24, 25])}, r"group_sizes are \[24, 25\].*sum to its 48"),
        ({"group_sizes": torch.tensor([0, 48])}, r"group_sizes are \[0, 48\].*positive"),
        ({"k": torch.tensor(0)}, "k = 0"),
        ({"k": torch.tensor([3, 4])}, r"k is torch\.int64 of shape \(2,\)"),
        ({"b_dec": torch.zeros(13)}, "b_dec has shape"),
        ({"W_dec": torch.zeros(F, D + 1)}, r"W_dec has shape \(48, 13\)"),
        ({"W_enc": torch.zeros(48)}, r"W_enc has shape \(48,\)"),
        ({"W_enc": torch.zeros(D, F, dtype=torch.float64)}, "must be one of float32"),
        ({"W_dec": torch.zeros(F, D, dtype=torch.float16)}, r"W_dec is torch\.float16, but W_enc is float32"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, torch.Tensor | None], reason: str
) -> None:
    state: dict[str, Any] = {**released(tmp_path), **changes}
    torch.save({name: tensor for name, tensor in state.items() if tensor is not None}, tmp_path / "ae.pt")
    (tmp_path / "config.json").unlink()
    with pytest.raises(SAEError, match=reason) as caught:
        open_sae(tmp_path)
    assert "ae.pt" in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("activation_dim", 13, "activation_dim is 13, but the weights in ae.pt have 12"),
        ("dict_size", 47, "dict_size is 47"),
        ("k", 5, "k is 5, but the weights in ae.pt have 4"),
        ("group_sizes", RELEASED[::-1], "group_sizes"),
        ("dict_class", "GatedAutoEncoder", "GatedAutoEncoder"),
        ("dict_class", "AutoEncoderTopK", "k largest activations of each token"),
        ("dict_class", "BatchTopKSAE", r"no tensor 'encoder\.weight'"),
    ],
)
def test_a_configuration_that_says_something_else_is_refused(
    tmp_path: Path, field: str, value: object, reason: str
) -> None:
    released(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["trainer"][field] = value
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(SAEError, match=reason):
        open_sae(tmp_path)


def test_a_threshold_of_zero_is_not_a_missing_one(tmp_path: Path) -> None:
    state = {**released(tmp_path), "threshold": torch.tensor(0.0)}
    torch.save(state, tmp_path / "ae.pt")
    acts_nf = open_sae(tmp_path).encode(some_rows()).dense()
    torch.testing.assert_close(acts_nf, foreign_features("MatryoshkaBatchTopKSAE", state, some_rows()))


def test_what_two_classes_could_have_saved_needs_its_configuration(tmp_path: Path) -> None:
    with pytest.raises(SAEError, match=r"BatchTopKSAE or an AutoEncoderTopK.*config\.json"):
        open_sae(write_foreign(tmp_path, foreign_state("BatchTopKSAE"), None))


def test_a_file_that_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ae.pt"
    torch.save([torch.zeros(3)], path)
    with pytest.raises(SAEError, match="list, not a state dict"):
        open_sae(tmp_path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(SAEError, match=r"Git LFS pointer.*git lfs pull"):
        open_sae(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(SAEError, match="damaged"):
        open_sae(tmp_path)


def test_a_file_cut_short_is_refused_wherever_the_cut_is(tmp_path: Path) -> None:
    released(tmp_path)
    whole = (tmp_path / "ae.pt").read_bytes()
    for length in range(1, len(whole), len(whole) // 40):
        (tmp_path / "ae.pt").write_bytes(whole[:length])
        with pytest.raises(SAEError, match=r"ae\.pt"):
            open_sae(tmp_path)


def test_an_export_that_was_edited_is_refused(make_sae: MakeSAE, tmp_path: Path) -> None:
    write_dictionary_learning(make_sae(), tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["interp"]["sae"]["groups"] = [16, 8, 24]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(SAEError, match=r"interp\.sae\.groups"):
        open_sae(tmp_path)
    settings["interp"]["sae"] = {"d": D}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(SAEError, match=r"config\.json: interp\.sae: "):
        open_sae(tmp_path)
