from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sae import open_sae
from sae.errors import SAEError
from sae.formats.dictionary_learning import read_dictionary_learning, write_dictionary_learning
from sae.model import MatryoshkaSAE

MakeSAE = Callable[..., MatryoshkaSAE]


def foreign_folder(folder: Path, group_sizes: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    """A folder as dictionary_learning leaves it: W_enc (d, F), integer k, group_sizes in the file's own order."""
    generator = torch.Generator().manual_seed(seed)
    n_features, d = sum(group_sizes), 12
    W_dec = torch.randn(n_features, d, generator=generator)
    W_dec /= W_dec.norm(dim=1, keepdim=True)
    state = {
        "k": torch.tensor(4, dtype=torch.int),
        "threshold": torch.tensor(0.37),
        "group_sizes": torch.tensor(group_sizes),
        "W_enc": torch.randn(d, n_features, generator=generator),
        "b_enc": torch.randn(n_features, generator=generator),
        "W_dec": W_dec,
        "b_dec": torch.randn(d, generator=generator),
    }
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "ae.pt")
    config = {"trainer": {"dict_class": "MatryoshkaBatchTopKSAE", "layer": 15, "lr": 1e-4}, "buffer": {"d": 12}}
    (folder / "config.json").write_text(json.dumps(config))
    return state


@pytest.mark.parametrize("group_sizes", [[24, 12, 6, 6], [6, 6, 12, 24]])
def test_a_foreign_folder_means_what_its_library_says(tmp_path: Path, group_sizes: list[int]) -> None:
    state = foreign_folder(tmp_path, group_sizes)
    sae = open_sae(tmp_path)
    assert sae.groups == tuple(group_sizes)
    assert sae.k == 4
    assert float(sae.threshold) == pytest.approx(0.37)
    x_nd = torch.randn(30, 12, generator=torch.Generator().manual_seed(1))
    acts_nf = torch.relu((x_nd - state["b_dec"]) @ state["W_enc"] + state["b_enc"])
    acts_nf = acts_nf * (acts_nf > state["threshold"])
    torch.testing.assert_close(sae.encode(x_nd).dense(), acts_nf, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sae(x_nd), acts_nf @ state["W_dec"] + state["b_dec"], atol=1e-5, rtol=1e-5)
    width = group_sizes[0]
    prefix_nd = acts_nf[:, :width] @ state["W_dec"][:width] + state["b_dec"]
    torch.testing.assert_close(sae.decode(sae.encode(x_nd), 1), prefix_nd, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("group_sizes", [[24, 12, 6, 6], [6, 6, 12, 24]])
def test_theirs_to_ours_to_theirs_is_exact(tmp_path: Path, group_sizes: list[int]) -> None:
    state = foreign_folder(tmp_path / "a", group_sizes)
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
    write_dictionary_learning(sae, tmp_path, layer=15, lm_name="phantom")
    loaded = read_dictionary_learning(tmp_path)
    assert loaded.config == sae.config
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in sae.state_dict().items())
    trainer = json.loads((tmp_path / "config.json").read_text())["trainer"]
    assert trainer["dict_class"] == "MatryoshkaBatchTopKSAE"
    assert (trainer["layer"], trainer["lm_name"]) == (15, "phantom")


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


def test_bad_folders_are_refused_with_the_reason(tmp_path: Path) -> None:
    def spoiled(**changes: Any) -> Path:
        state: dict[str, Any] = dict(foreign_folder(tmp_path, [24, 24]))
        for name, value in changes.items():
            state.pop(name)
            if value is not None:
                state[name] = value
        torch.save(state, tmp_path / "ae.pt")
        return tmp_path

    for name in ("threshold", "group_sizes", "k", "W_enc"):
        with pytest.raises(SAEError, match=f"no tensor '{name}'"):
            open_sae(spoiled(**{name: None}))
    with pytest.raises(SAEError, match="never set"):
        open_sae(spoiled(threshold=torch.tensor(-1.0)))
    with pytest.raises(SAEError, match="groups"):
        open_sae(spoiled(group_sizes=torch.tensor([24, 25])))
    with pytest.raises(SAEError, match="b_dec has shape"):
        open_sae(spoiled(b_dec=torch.zeros(13)))
    with pytest.raises(SAEError, match=r"W_enc has shape \(48,\)"):
        open_sae(spoiled(W_enc=torch.zeros(48)))
    with pytest.raises(SAEError, match="must be one of float32"):
        open_sae(spoiled(W_enc=torch.zeros(12, 48, dtype=torch.float64)))
    torch.save([torch.zeros(3)], tmp_path / "ae.pt")
    with pytest.raises(SAEError, match="list, not a state dict"):
        open_sae(tmp_path)
    foreign_folder(tmp_path, [24, 24])
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": "GatedAutoEncoder"}}))
    with pytest.raises(SAEError, match="GatedAutoEncoder"):
        open_sae(tmp_path)


def test_what_the_form_has_no_room_for_is_not_dropped(make_sae: MakeSAE, tmp_path: Path) -> None:
    sae = make_sae()
    sae.threshold = torch.linspace(0, 1, sae.n_features)
    with pytest.raises(SAEError, match="one threshold for all features"):
        write_dictionary_learning(sae, tmp_path)
