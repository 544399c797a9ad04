from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sae import open_sae
from sae.errors import SAEError
from sae.formats.dictionary_learning import write_dictionary_learning
from sae.formats.saelens import write_saelens
from sae.model import MatryoshkaSAE

MakeSAE = Callable[..., MatryoshkaSAE]


@pytest.mark.parametrize("write", [MatryoshkaSAE.save, write_saelens, write_dictionary_learning])
def test_each_form_is_known_by_its_files(
    make_sae: MakeSAE, tmp_path: Path, write: Callable[[MatryoshkaSAE, Path], None]
) -> None:
    sae = make_sae()
    write(sae, tmp_path)
    for path in (tmp_path, *tmp_path.iterdir()):
        assert torch.equal(open_sae(path).W_enc, sae.W_enc)


def test_a_folder_without_one_says_what_was_found_and_wanted(tmp_path: Path) -> None:
    with pytest.raises(SAEError, match="does not exist"):
        open_sae(tmp_path / "missing")
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(SAEError, match=r"found: readme\.txt.*ae\.pt"):
        open_sae(tmp_path)


def test_the_only_one_below_a_folder_is_opened_and_of_several_one_must_be_named(
    make_sae: MakeSAE, tmp_path: Path
) -> None:
    write_dictionary_learning(make_sae(), tmp_path / "layer_15" / "x2")
    assert open_sae(tmp_path).n_features == 48
    write_saelens(make_sae(), tmp_path / "layer_15" / "x4")
    with pytest.raises(SAEError, match=r"2 autoencoders .* one of: layer_15/x2, layer_15/x4"):
        open_sae(tmp_path)
