"""Every token of an image or a text belongs to exactly one unit, and a unit is one image or one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from activations.models.phantom_language import build_tokenizer
from activations.roles import Role
from autointerp.pieces import Pieces
from autointerp.reading import read_findings
from autointerp.units import TEXT_ROLES, Units, cut_units


def cut(store, keep: np.ndarray | None = None) -> Units:
    tokens = {name: store.column(name) for name in ("study", "position", "token_id", "role", "image", "row", "col")}
    tokenizer = build_tokenizer()
    keep = np.ones(store.rows, dtype=bool) if keep is None else keep
    return cut_units(
        tokens,
        Pieces(tokenizer, tokens["token_id"]),
        keep,
        tokenizer=tokenizer,
        read_sentence=read_findings,
        read_image=lambda study, image: (f"study{study}={image}",),
    )


def test_units_partition_the_kept_tokens(hand_run) -> None:
    store = hand_run.store
    keep = store.column("study") % 3 != 0
    units = cut(store, keep)
    content = np.isin(store.column("role"), [int(role) for role in (Role.IMAGE, *TEXT_ROLES)])
    assert ((units.unit_of_row >= 0) == (keep & content)).all()
    rows = np.concatenate([np.arange(a, a + n) for a, n in zip(units.first_row, units.n_rows, strict=True)])
    assert (np.sort(rows) == np.flatnonzero(units.unit_of_row >= 0)).all()
    assert (units.unit_of_row[rows] == np.repeat(np.arange(len(units)), units.n_rows)).all()


@pytest.mark.parametrize("column", ["study", "role", "image"])
def test_a_unit_never_mixes(hand_run, column: str) -> None:
    units, values = cut(hand_run.store), hand_run.store.column(column)
    own = getattr(units, column)[units.unit_of_row.clip(0)]
    inside = units.unit_of_row >= 0
    assert (values[inside] == own[inside]).all()


def test_images_are_whole_and_sentences_are_those_of_the_report(hand_run) -> None:
    units = cut(hand_run.store)
    assert set(units.n_rows[units.is_image]) == {16}
    in_report = np.flatnonzero((units.study == 0) & (units.role == Role.REPORT))
    sentences = [units.documents.sentences[units.document[unit]] for unit in in_report]
    report = hand_run.report(0)
    assert " ".join(sentences) == report
    assert all(sentence.count(".") == 1 and sentence.endswith(".") for sentence in sentences)


def test_a_dropped_token_ends_a_sentence(hand_run) -> None:
    store = hand_run.store
    rows = np.flatnonzero((store.column("study") == 0) & (store.column("role") == Role.REPORT))
    keep = np.ones(store.rows, dtype=bool)
    keep[rows[1]] = False
    units = cut(store, keep)
    assert units.unit_of_row[rows[0]] != units.unit_of_row[rows[2]]
    assert units.unit_of_row[rows[1]] == -1


def test_equal_sentences_share_a_document_and_images_have_their_own(hand_run) -> None:
    units = cut(hand_run.store)
    texts = [text for text in units.documents.sentences if text is not None]
    assert len(texts) == len(set(texts))
    images = np.flatnonzero(units.is_image)
    pairs = set(zip(units.study[images].tolist(), units.image[images].tolist(), strict=True))
    assert len(np.unique(units.document[images])) == len(pairs) == len(images)


def test_nothing_kept_is_no_unit(hand_run) -> None:
    units = cut(hand_run.store, np.zeros(hand_run.store.rows, dtype=bool))
    assert len(units) == 0
    assert (units.unit_of_row == -1).all()
