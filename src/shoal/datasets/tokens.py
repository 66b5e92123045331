"""From text to tokens and back: characters, bytes, or a tokenizer of the user's.

A `Tokenizer` is what the rest of Shoal sees. Its `plain` form is recorded with the run, so that characters and bytes
can be sampled from the folder alone; a tokenizer that was passed from Python has to be passed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from shoal.errors import DataError


@dataclass(frozen=True)
class Tokenizer:
    """Numbers for text: `encode` returns tokens from 0 to `size` - 1, `decode` the text of tokens."""

    size: int
    encode: Callable[[str], Sequence[int] | np.ndarray[Any, Any]]
    decode: Callable[[Sequence[int]], str]
    plain: Mapping[str, Any]

    def encoded(self, text: str, where: str) -> Tensor:
        """Return the tokens of a text in the smallest type that holds them all; `where` names it in errors."""
        kind = next(kind for kind, most in KINDS if self.size <= most)
        numbers = np.asarray(self.encode(text), dtype=np.int64)
        if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) < self.size:
            raise DataError(
                f"{where}: the tokenizer returned the token {int(numbers.max())}: expected 0 to {self.size - 1}, for "
                f"it says that it has {self.size} kinds."
            )
        return torch.from_numpy(numbers).to(kind)


KINDS = ((torch.uint8, 1 << 8), (torch.int16, 1 << 15), (torch.int32, 1 << 31))


def tokenizer_for(name: str, text: str) -> Tokenizer:
    """Return the tokenizer of a name: `characters` (those of the text, sorted), or `bytes` (of UTF-8)."""
    if name == "bytes":
        return _of_bytes()
    if name == "characters":
        return of_characters("".join(sorted(set(text))))
    raise DataError(
        f"dataset.tokenizer = {name}: expected characters or bytes. A tokenizer of your own is passed from Python: "
        "shoal.train(dataset=shoal.text(..., tokenizer=TOKENIZER))."
    )


def of_characters(alphabet: str) -> Tokenizer:
    """Return the tokenizer whose tokens are the places of characters in an alphabet.

    >>> known = of_characters("abc")
    >>> [int(token) for token in known.encode("cab")], known.decode([2, 0, 1])
    ([2, 0, 1], 'cab')
    """
    codes = np.frombuffer(alphabet.encode("utf-32-le"), dtype=np.uint32)  # sorted, so that places are found by halving

    def encode(text: str) -> np.ndarray[Any, Any]:
        wanted = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        places = np.searchsorted(codes, wanted).clip(max=max(0, len(codes) - 1))
        strange = codes[places] != wanted if len(codes) else np.ones(len(wanted), dtype=bool)
        if strange.any():
            first = int(strange.argmax())
            raise DataError(
                f"the character {text[first]!r} at position {first:,} is not among the {len(codes)} of the text that "
                "was trained on. Leave it out, or train with dataset.tokenizer=bytes, which knows every text."
            )
        return places

    def decode(tokens: Sequence[int]) -> str:
        return "".join(alphabet[token] for token in tokens)

    return Tokenizer(len(alphabet), encode, decode, {"tokenizer": "characters", "characters": alphabet})


def _of_bytes() -> Tokenizer:
    def encode(text: str) -> np.ndarray[Any, Any]:
        return np.frombuffer(text.encode("utf-8", "surrogateescape"), dtype=np.uint8)

    def decode(tokens: Sequence[int]) -> str:
        return bytes(tokens).decode("utf-8", errors="replace")

    return Tokenizer(256, encode, decode, {"tokenizer": "bytes"})


def checked(tokenizer: Any) -> Tokenizer:
    """Return a user's tokenizer as one of ours; raises DataError for what has no encode, decode or size."""
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    for method in ("encode", "decode"):
        if not callable(getattr(tokenizer, method, None)):
            raise DataError(
                f"tokenizer={type(tokenizer).__name__}: it has no {method}(): expected an object with encode(text) and "
                "decode(tokens), or 'characters', or 'bytes'."
            )
    name = f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__}"

    def encode(text: str) -> Sequence[int]:
        found: Any = tokenizer.encode(text)
        return cast(Sequence[int], getattr(found, "ids", found))

    def decode(tokens: Sequence[int]) -> str:
        return str(tokenizer.decode(list(tokens)))

    return Tokenizer(_size(tokenizer), encode, decode, {"tokenizer": "external", "source": name})


def _size(tokenizer: Any) -> int:
    for name in ("n_vocab", "get_vocab_size", "vocab_size"):
        found: Any = getattr(tokenizer, name, None)
        found = found() if callable(found) else found
        if isinstance(found, int) and found > 0:
            return found
    try:
        return len(tokenizer)
    except TypeError as error:
        raise DataError(
            f"tokenizer={type(tokenizer).__name__}: how many tokens it has is not known: expected an attribute "
            "vocab_size, or a length."
        ) from error


def recorded(encoding: Mapping[str, Any], tokenizer: Any = None) -> Tokenizer:
    """Return the tokenizer of a trained run from what was recorded, or the one passed again."""
    if tokenizer is not None:
        return checked(tokenizer)
    if encoding["tokenizer"] == "characters":
        return of_characters(str(encoding["characters"]))
    if encoding["tokenizer"] == "bytes":
        return _of_bytes()
    raise DataError(
        f"the run was trained with a tokenizer from Python ({encoding.get('source')}), which its folder does not hold. "
        "Pass it again: tokenizer=TOKENIZER."
    )


def characters_of(tokenizer: Tokenizer) -> str:
    """Return the alphabet of a tokenizer of characters, else its name: what identifies it beside its tokens."""
    return str(tokenizer.plain.get("characters", tokenizer.plain["tokenizer"]))
