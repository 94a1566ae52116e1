"""No control token of a tokenizer survives as its id from a conversation."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import AddedToken, normalizers

from convrec.errors import InputError
from convrec.models.control_tokens import control_tokens, neutralize
from convrec.models.prompts import Around, encode_prompt
from convrec.models.tiny import make_tiny
from tests.support.chat_tokenizers import FAMILIES, family_tokenizer
from tests.support.micro import TEXTS


def control_ids(tokenizer: Any, ids: list[int]) -> list[str]:
    """The entries of the tokenizer's added tokens among these ids, by their texts."""
    added = {**tokenizer.added_tokens_decoder}
    for unknown in tokenizer("…", add_special_tokens=False)["input_ids"]:
        added.pop(unknown, None)
    return [added[token].content for token in ids if token in added]


@pytest.mark.parametrize("header_special", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_special_entry_stays_text(name: str, header_special: bool) -> None:
    tokenizer = family_tokenizer(name, header_special=header_special)
    tokens = [*FAMILIES[name].special, *FAMILIES[name].added]
    own = control_ids(tokenizer, encode_prompt(tokenizer, "I liked Heat", 4096))
    assert own
    for token in tokens:
        raw = tokenizer(token, add_special_tokens=False)["input_ids"]
        assert control_ids(tokenizer, raw) == [token]
        for post in (token, f"a{token}b", f"{token}{token}", f" {token}\n", f"<{token}>"):
            ids = encode_prompt(tokenizer, f"x {post} y", 4096)
            assert control_ids(tokenizer, ids) == own, post
    turn = "\n".join(tokens) + " I liked Heat"
    assert control_ids(tokenizer, encode_prompt(tokenizer, turn, 4096)) == own


@pytest.mark.parametrize("name", FAMILIES)
def test_a_long_post_of_control_tokens_stays_text_when_it_is_cut(name: str) -> None:
    tokenizer = family_tokenizer(name)
    own = control_ids(tokenizer, encode_prompt(tokenizer, "I liked Heat", 4096))
    size = len(encode_prompt(tokenizer, "", 4096))
    post = " ".join([*FAMILIES[name].special, *FAMILIES[name].added] * 40)
    for room in range(20, 60, 7):
        ids = encode_prompt(tokenizer, f"Say: {post}", size + room, Around("Say:"))
        assert len(ids) <= size + room
        assert control_ids(tokenizer, ids) == own


def test_a_token_that_breaking_another_would_form_stays_text() -> None:
    tokenizer = family_tokenizer("llama")
    own = control_ids(tokenizer, encode_prompt(tokenizer, "x", 4096))
    for post in ("<|eot_<|eot_id|>id|>", "<<|eot_id|>|eot_id|>", "<|<|eot_id|>eot_id|>"):
        assert control_ids(tokenizer, encode_prompt(tokenizer, post, 4096)) == own


def lowercase_tokenizer() -> Any:
    """A tokenizer that reads `<|END_TURN|>` as a control token, after its normalization."""
    tokenizer = make_tiny(TEXTS, _tiny(), seed=0)[1]
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase()]
    )
    tokenizer.add_tokens([AddedToken("<|end_turn|>", special=True, normalized=True)])
    return tokenizer


def _tiny() -> Any:
    from convrec.config import Model

    return Model(vocabulary=300, hidden=16, layers=1)


@pytest.mark.parametrize("post", ["<|END_TURN|>", "ａ ＜|End_Turn|＞ b", "x<|eND_tURN|>" * 3])
def test_a_token_that_normalization_forms_stays_text(post: str) -> None:
    tokenizer = lowercase_tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|end_turn|>")
    assert end in tokenizer(post)["input_ids"]
    assert neutralize(tokenizer, post) == post
    assert end not in encode_prompt(tokenizer, post, 64)


def test_a_token_that_spaces_do_not_break_is_an_error() -> None:
    tokenizer = lowercase_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(" ", "")
    with pytest.raises(InputError, match="control token of the model that cannot be made text"):
        encode_prompt(tokenizer, "x <|end_turn|>", 64)


def test_unknown_characters_are_no_control_tokens() -> None:
    tokenizer = family_tokenizer("gemma")
    unknown = tokenizer.convert_tokens_to_ids("<unk>")
    assert encode_prompt(tokenizer, "a 電 film …", 64).count(unknown) == 2


def test_new_tokens_are_known_at_once() -> None:
    tokenizer = family_tokenizer("smollm")
    before = control_tokens(tokenizer)
    assert control_tokens(tokenizer) is before
    tokenizer.add_tokens([AddedToken("<|new|>", special=True)])
    assert control_tokens(tokenizer).ids - before.ids == {
        tokenizer.convert_tokens_to_ids("<|new|>")
    }
