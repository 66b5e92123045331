"""Tokens: text and back, a tokenizer of one's own, and what cannot be one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.datasets.text import from_text
from shoal.datasets.tokens import checked, of_characters, recorded, tokenizer_for
from shoal.errors import DataError


class Words:
    """Tokens are words and the spaces between them, as a person would write a tokenizer."""

    def __init__(self, text: str, *, size: int | None = None) -> None:
        self.words = sorted(set(text.split(" ")))
        self.vocab_size = size or len(self.words)

    def encode(self, text: str) -> list[int]:
        return [self.words.index(word) for word in text.split(" ")]

    def decode(self, tokens: list[int]) -> str:
        return " ".join(self.words[token] for token in tokens)


class Encoding:
    def __init__(self, ids: list[int]) -> None:
        self.ids = ids


class Wrapped(Words):
    """As those of the tokenizers library: `encode` returns an object with `ids`."""

    def encode(self, text: str) -> Any:
        return Encoding(super().encode(text))


@given(text=st.text(st.characters(codec="utf-8"), min_size=1))
@pytest.mark.parametrize("name", ["characters", "bytes"])
def test_a_text_comes_back(name: str, text: str) -> None:
    known = tokenizer_for(name, text)
    tokens = known.encoded(text, "a text").tolist()
    assert known.decode(tokens) == text
    assert recorded(known.plain).decode(tokens) == text


def test_a_character_that_was_never_seen_is_named() -> None:
    with pytest.raises(DataError, match=r"the character 'z' at position 2 is not among the 3"):
        of_characters("abc").encode("abz")
    with pytest.raises(DataError, match=r"among the 0"):
        of_characters("").encode("a")


@pytest.mark.parametrize("kind", [Words, Wrapped])
def test_a_tokenizer_of_ones_own(kind: type[Words]) -> None:
    text = "to be or not to be that is the question " * 30
    own = kind(text.strip())
    data = from_text(text.strip(), tokenizer=own, context=4)
    assert data.classes == len(own.words)
    assert data.encoding is not None
    assert data.encoding["source"].endswith(kind.__name__)
    assert data.encoding["characters_per_token"] == pytest.approx(len(text.strip()) / 300)
    with pytest.raises(DataError, match=r"which its folder does not hold. Pass it again: tokenizer=TOKENIZER"):
        recorded(data.encoding)
    assert recorded(data.encoding, own).decode([0, 1]) == own.decode([0, 1])


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        ("words", r"dataset.tokenizer = words: expected characters or bytes"),
        (object(), r"tokenizer=object: it has no encode\(\)"),
        (Words("a b", size=1), r"returned the token 1: expected 0 to 0, for it says that it has 1 kinds"),
    ],
)
def test_what_is_no_tokenizer_is_refused(tokenizer: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_text("a b a b", tokenizer=tokenizer, context=1)


def test_a_tokenizer_that_does_not_tell_its_size_is_refused() -> None:
    class Sizeless:
        def encode(self, text: str) -> list[int]:
            return [0] * len(text)

        def decode(self, tokens: list[int]) -> str:
            return "a" * len(tokens)

    with pytest.raises(DataError, match=r"how many tokens it has is not known: expected an attribute vocab_size"):
        checked(Sizeless())


def test_many_kinds_of_tokens_are_stored_in_wider_integers() -> None:
    class Many:
        vocab_size = 70_000

        def encode(self, text: str) -> list[int]:
            return [69_999 - place for place in range(len(text))]

        def decode(self, tokens: list[int]) -> str:
            return "a" * len(tokens)

    tokens = checked(Many()).encoded("abc", "a text")
    assert tokens.tolist() == [69_999, 69_998, 69_997]
    assert tokens.element_size() == 4
