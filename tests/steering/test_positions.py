from __future__ import annotations

import numpy as np
import pytest

from activations.roles import Role
from steering.errors import SteeringError
from steering.interventions.positions import NO_TOKEN, Ledger, prompt_length, prompt_places
from steering.interventions.selection import select
from steering.interventions.spec import Tokens


@pytest.fixture
def inputs(model, studies):
    return model.encode_batch(studies)


def test_prompt_places_are_the_token_tables(inputs):
    places = prompt_places(inputs)
    for i, (table, pad) in enumerate(zip(inputs.tokens, inputs.padding, strict=True)):
        assert (places.role[i, :pad] == NO_TOKEN).all()
        assert (places.role[i, pad:] == table.role).all()
        assert (places.row[i, pad:] == table.row).all()
        assert (places.study[i] == i).all()


def test_steps_continue_the_prompt(inputs):
    ledger = Ledger("language.1", inputs)
    width = ledger.width
    assert ledger.next((4, width, 32)).role.shape == (4, width)
    for step in range(3):
        places = ledger.next((4, 1, 32))
        assert (places.role == Role.REPORT).all()
        assert places.generated.all()
        assert (places.slot == width + step).all()
        assert (places.row == -1).all()


def test_without_a_cache_the_text_comes_again(inputs):
    ledger = Ledger("language.1", inputs)
    first = ledger.next((4, ledger.width, 32))
    for step in range(1, 4):
        places = ledger.next((4, ledger.width + step, 32))
        assert (places.role[:, :-step] == first.role).all()
        assert places.generated.sum() == 4 * step


def test_a_prompt_of_one_token(model, studies):
    whole = model.encode(studies[0])
    one = type(whole)(
        whole.input_ids_bt[:, :1],
        whole.attention_mask_bt[:, :1],
        None,
        (type(whole.tokens[0]).text([1], Role.TEMPLATE),),
        ("s",),
    )
    ledger = Ledger("language.1", one)
    assert not ledger.next((1, 1, 32)).generated.any()
    assert ledger.next((1, 1, 32)).slot.item() == 1


def test_rows_are_beams_of_their_study(inputs):
    ledger = Ledger("language.1", inputs)
    places = ledger.next((12, ledger.width, 32))
    assert places.study[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert ledger.copies == 3
    assert ledger.next((12, 1, 32)).study[:, 0].tolist() == places.study[:, 0].tolist()


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(4, 5, 32)], "chunked prefill"),
        ([(5, None, 32)], "5 rows for 4 studies"),
        ([(4, None, 32), (8, 1, 32)], "8 rows for 4 studies"),
        ([(4, None, 32), (4, 3, 32)], "assisted decoding"),
        ([(4, 32)], "rows, tokens, width"),
    ],
)
def test_what_cannot_be_counted_is_refused(inputs, shapes, words):
    ledger = Ledger("language.1", inputs)
    whole = [tuple(ledger.width if size is None else size for size in shape) for shape in shapes]
    for shape in whole[:-1]:
        ledger.next(shape)
    with pytest.raises(SteeringError, match=words):
        ledger.next(whole[-1])


def test_image_sites(inputs):
    ledger = Ledger("vision.0", inputs)
    places = ledger.next((6, 7, 8))
    assert places.study[:, 0].tolist() == [0, 1, 1, 2, 3, 3]
    assert (places.role[:, 0] == NO_TOKEN).all()
    assert places.image[:, 1].tolist() == [0, 0, 1, 0, 0, 1]
    table, pad = inputs.tokens[3], inputs.padding[3]
    assert (places.slot[5, 1:] - pad).tolist() == table.where([Role.IMAGE], "lateral").tolist()
    with pytest.raises(SteeringError, match="steer at a language site"):
        ledger.next((12, 7, 8))


def test_the_report_starts_and_ends(model, studies):
    table = model.encode(studies[0], "w7 w8").tokens[0]
    assert prompt_length(table) == len(model.encode(studies[0]).tokens[0])
    places = prompt_places(model.encode(studies[0], "w7 w8"))
    assert np.flatnonzero(places.generated[0]).tolist() == [prompt_length(table), prompt_length(table) + 1]


def test_scopes_share_out_all_but_special_tokens(model, studies):
    places = prompt_places(model.encode_batch(studies, ["w7"] * 4))
    chosen = [select(places, Tokens(scope), model.grid) for scope in ("prompt.image", "prompt.text", "generated")]
    assert (sum(part.astype(int) for part in chosen) == select(places, Tokens("all"), model.grid)).all()
    left = ~select(places, Tokens("all"), model.grid)
    assert set(places.role[left].tolist()) == {NO_TOKEN, int(Role.SPECIAL)}
