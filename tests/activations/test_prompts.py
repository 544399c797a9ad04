"""Roles come from how a prompt was put together; ids stay those of the checkpoint's tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activations.models.chat import PromptWriter
from activations.models.prompts import (
    MARKS,
    Piece,
    expanded,
    pieces_of,
    recorded,
    section_texts,
    special_ids,
    text_of,
    token_table,
)
from activations.roles import Role
from radiology.errors import InputError
from radiology.study import Study
from tests.activations.tiny_models import byte_tokenizer, piece_tokenizer

BYTES = byte_tokenizer(["<end>", "<img>"], eos_token="<end>")
PIECES = piece_tokenizer(["<unk>", "<s>", "<end>", "<img>"], unk_token="<unk>", bos_token="<s>", eos_token="<end>")
_WORDS = st.text(alphabet=st.sampled_from("abT .\n,é心"), min_size=1, max_size=12)


def special(tokenizer: Any, token: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(token))


@settings(max_examples=60, deadline=None)
@given(st.lists(_WORDS, min_size=1, max_size=4), st.sampled_from(["bytes", "pieces"]))
def test_every_token_has_one_role_and_roles_come_in_the_order_of_the_pieces(texts: list[str], kind: str) -> None:
    tokenizer = {"bytes": BYTES, "pieces": PIECES}[kind]
    roles = [Role.TEMPLATE, Role.INDICATION, Role.COMPARISON, Role.REPORT]
    pieces = [Piece(text, role) for text, role in zip(texts, roles, strict=False)]
    ids = tokenizer(text_of(pieces))["input_ids"]
    table = token_table(tokenizer, pieces, ids)
    assert table.token_id.tolist() == ids
    order = [int(role) for role in table.role if role != Role.SPECIAL]
    assert order == sorted(order)
    visible = {int(piece.role) for piece in pieces if piece.text.strip()}
    assert set(order) <= {int(piece.role) for piece in pieces}
    if kind == "bytes":  # without a merge of two pieces into one token, every visible piece has tokens
        assert len(visible - set(order)) <= len(texts) - 1


def test_spaces_and_line_breaks_go_with_their_word() -> None:
    pieces = [Piece("TECHNIQUE: ", Role.TEMPLATE), Piece("cough.", Role.INDICATION), Piece("\nPA", Role.TEMPLATE)]
    table = token_table(BYTES, pieces, BYTES(text_of(pieces))["input_ids"])
    assert BYTES.decode(table.token_id[table.where([Role.INDICATION])]) == " cough."


def test_a_stop_that_is_one_token_with_its_line_break_belongs_to_the_sentence() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"cough": 0, ".\n": 1, "PA": 2}, unk_token="PA"))
    words.pre_tokenizer = pre_tokenizers.Split(".\n", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    pieces = [Piece("cough.", Role.INDICATION), Piece("\nPA", Role.TEMPLATE)]
    table = token_table(tokenizer, pieces, [0, 1, 2])
    assert table.role.tolist() == [Role.INDICATION, Role.INDICATION, Role.TEMPLATE]


def test_image_tokens_have_their_places_and_special_tokens_their_role() -> None:
    pieces = [Piece("a<img><img><img><img> b<img><img><img><img>", Role.TEMPLATE), Piece(" c<end>", Role.REPORT)]
    ids = BYTES(text_of(pieces))["input_ids"]
    image = special(BYTES, "<img>")
    table = token_table(BYTES, pieces, ids, image_token_id=image, images=("frontal", "prior_frontal"), grid=(2, 2))
    assert table.row[table.where([Role.IMAGE], "prior_frontal")].tolist() == [0, 0, 1, 1]
    assert table.col[table.where([Role.IMAGE], "frontal")].tolist() == [0, 1, 0, 1]
    assert table.role[-1] == Role.SPECIAL
    with pytest.raises(InputError, match="8 image tokens for 1 images of 2 × 2"):
        token_table(BYTES, pieces, ids, image_token_id=image, images=("frontal",), grid=(2, 2))


def test_tokens_listed_as_special_count_without_a_function() -> None:
    assert special(BYTES, "<img>") in special_ids(BYTES)
    assert special(BYTES, "<img>") not in BYTES.all_special_ids


def test_ids_of_another_text_are_refused() -> None:
    with pytest.raises(InputError, match="different tokens of the same text"):
        token_table(BYTES, [Piece("abc", Role.REPORT)], BYTES("abd")["input_ids"])
    slow = type("Slow", (), {"is_fast": False})()
    with pytest.raises(InputError, match="not a fast one"):
        token_table(slow, [Piece("abc", Role.REPORT)], [1])


def test_image_tokens_are_written_out_and_nothing_else_may_change() -> None:
    pieces = [Piece("a<img>b<img>", Role.TEMPLATE), Piece("c", Role.REPORT)]
    run = "\n<begin>" + "<img>" * 3 + "<end>"
    whole = expanded(pieces, f"a{run}b{run}c", "<img>")
    assert whole == [Piece(f"a{run}b{run}", Role.TEMPLATE), Piece("c", Role.REPORT)]
    for altered in (f"a{run}b{run}C", f"a{run}b<img>c", f"a{run}b{run} c", "abc"):
        with pytest.raises(InputError, match="alters the text"):
            expanded(pieces, altered, "<img>")
    assert expanded([Piece("no image", Role.TEMPLATE)], "no image", "<img>") == [Piece("no image", Role.TEMPLATE)]
    with pytest.raises(InputError, match="alters the text"):
        expanded([Piece("no image", Role.TEMPLATE)], "no  image", "<img>")


def test_marks_become_sections_each_exactly_once() -> None:
    report = MARKS[Role.REPORT]
    texts = {Role.REPORT: "Normal."}
    assert pieces_of(f"say: {report}!", texts) == [
        Piece("say: ", Role.TEMPLATE),
        Piece("Normal.", Role.REPORT),
        Piece("!", Role.TEMPLATE),
    ]
    for wrong in ("nothing", report + report):
        with pytest.raises(InputError, match=r"report \d times"):
            pieces_of(wrong, texts)


def test_texts_with_marks_in_them_are_refused() -> None:
    study = Study("s", "p", {}, "phantom", indication=f"cough {MARKS[Role.REPORT]}")
    with pytest.raises(InputError, match="indication holds a private-use character"):
        section_texts(study, None)


def test_the_one_text_of_a_processor_is_noted_and_its_tokenizer_put_back() -> None:
    class Processor:
        tokenizer = BYTES

        def __call__(self, *texts: str) -> list[Any]:
            return [self.tokenizer([text])["input_ids"][0] for text in texts]

    processor = Processor()
    made, text = recorded(processor, lambda: processor("a b"))
    assert (made, text) == ([BYTES("a b")["input_ids"]], "a b")
    for texts in ((), ("a", "b")):
        with pytest.raises(InputError, match=f"tokenised {len(texts)} texts"):
            recorded(processor, lambda given=texts: processor(*given))
    assert processor.tokenizer is BYTES


class Template:
    """A tokenizer with a chat template."""

    def __init__(self, template: str) -> None:
        self._tokenizer = byte_tokenizer(["<end>", "<turn>"], eos_token="<end>")
        self._tokenizer.chat_template = template

    def writer(self, ends: tuple[str, ...] = ("<end>",)) -> PromptWriter:
        ids = [special(self._tokenizer, end) for end in ends]
        return PromptWriter(self._tokenizer, self._tokenizer, ids, instruction="Report.")


_OPEN = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}"


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (_OPEN + "<end>\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}", "<end>"),
        (_OPEN + " over<end>\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}", " over<end>"),
        (_OPEN + " {% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}", "<end>"),
    ],
    ids=["end token", "words before it", "none"],
)
def test_an_answer_goes_on_where_generation_would_and_ends_as_the_template_ends_it(template: str, end: str) -> None:
    writer = Template(template).writer()
    prompt = writer.marked((), ())
    assert prompt.endswith("[assistant] ")
    assert writer.marked((), (Role.REPORT,)) == prompt + MARKS[Role.REPORT] + end


def test_space_that_a_template_puts_before_an_answer_is_kept() -> None:
    template = _OPEN + "<end>{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    writer = Template(template).writer()
    assert writer.marked((), (Role.REPORT,)) == writer.marked((), ()) + f" {MARKS[Role.REPORT]}<end>"


def test_the_token_after_an_answer_is_the_turns_end() -> None:
    writer = Template(_OPEN + "<turn>\n{% endfor %}").writer()
    assert writer.turn_end() == special(writer.tokenizer, "<turn>")
    assert Template(_OPEN + "{% endfor %}").writer().turn_end() is None


def test_template_that_cannot_be_rendered_is_refused() -> None:
    writer = Template("{{ raise_exception('no users here') }}").writer()
    with pytest.raises(InputError, match=r"chat template cannot be rendered .*no users here"):
        writer.marked((), ())


def test_template_that_drops_the_answer_is_refused() -> None:
    writer = Template("{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}").writer()
    marked = writer.marked((), (Role.REPORT,))
    assert pieces_of(marked, {Role.REPORT: "x"})  # put behind the prompt all the same
    dropping = Template("always the same").writer()
    with pytest.raises(InputError, match="indication 0 times"):
        pieces_of(dropping.marked((), (Role.INDICATION,)), {Role.INDICATION: "x"})


def test_prompts_do_not_change_over_night() -> None:
    template = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}" + _OPEN + "{% endfor %}"
    assert Template(template).writer().marked((), ()).startswith("26 Jul 2024")
