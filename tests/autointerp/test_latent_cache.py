"""delphi's cache of a store holds what the SAE gives, read as delphi reads it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from activations.roles import Role
from autointerp.latent_cache import Latents, export_latents, read_latents
from radiology.errors import InputError

STUDIES = [0, 3, 7]
HOOKPOINT = "layers.0"


def export(hand_run, out: Path, **options: object) -> int:
    given = {"studies": STUDIES, "study_ids": [f"study-{s}" for s in STUDIES], "roles": None, "n_splits": 3} | options
    return export_latents(
        hand_run.sae,
        "language.0",
        store=hand_run.store,
        pad_token=0,
        model_name="hand",
        hookpoint=HOOKPOINT,
        out_dir=out,
        **given,
    )


@pytest.fixture(scope="module")
def folder(hand_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("delphi")
    export(hand_run, out)
    return out / "latents" / HOOKPOINT


def dense(latents: Latents, n_features: int) -> np.ndarray:
    acts = np.zeros((*latents.tokens.shape, n_features), dtype=np.float16)
    acts[tuple(latents.locations.T)] = latents.activations
    return acts


def test_what_is_read_back_is_what_the_sae_gives(hand_run, folder: Path) -> None:
    latents = read_latents(folder)
    acts_spf = dense(latents, hand_run.sae.n_features)
    for sequence, study in enumerate(STUDIES):
        rows = hand_run.store.rows_of_study(study)
        expected = hand_run.sae.encode_dense(torch.from_numpy(hand_run.store.read("language.0", rows))).detach()
        own = acts_spf[sequence, : len(expected)]
        assert np.array_equal(own, expected.numpy().astype(np.float16))
        assert not acts_spf[sequence, len(expected) :].any()
        assert latents.tokens[sequence, : len(expected)].tolist() == hand_run.store.column("token_id")[rows].tolist()
        assert set(latents.tokens[sequence, len(expected) :].tolist()) <= {0}


def test_the_files_are_those_of_delphi(hand_run, folder: Path) -> None:
    """Names, types and numbering as its loader wants them: inclusive ends, features counted from the split's first."""
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    assert names == ["0_3.safetensors", "4_7.safetensors", "8_11.safetensors"]
    for name in names:
        split = load_file(folder / name)
        assert split["locations"].dtype == np.uint16
        assert split["activations"].dtype == np.float16
        assert split["locations"][:, 2].max(initial=0) <= 3
        assert (split["activations"] > 0).all()
    config = json.loads((folder / "config.json").read_text())
    assert config["model_name"] == "hand"
    assert config["ctx_len"] == load_file(folder / names[0])["tokens"].shape[1]
    rows = list(csv.DictReader((folder / "sequences.csv").open()))
    assert [row["study_id"] for row in rows] == ["study-0", "study-3", "study-7"]
    assert sum(int(row["tokens"]) for row in rows) == config["n_tokens"]


def test_only_the_indexed_roles_are_written(hand_run, tmp_path: Path) -> None:
    export(hand_run, tmp_path, roles=["report"])
    store = hand_run.store
    own = store.column("role")[store.rows_of_study(0)] == Role.REPORT
    tokens = read_latents(tmp_path / "latents" / HOOKPOINT).tokens[0]
    assert tokens[: own.sum()].tolist() == store.column("token_id")[store.rows_of_study(0)][own].tolist()


def test_a_folder_without_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="START_END"):
        read_latents(tmp_path)
