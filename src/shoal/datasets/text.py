"""Text as examples: blocks of `context` tokens, each with the same block one token later as its target.

Tokens are characters or bytes, or what a tokenizer that is passed in makes of the text. They are stored once, in the
smallest type that holds them; examples are views of that array, so overlapping blocks cost nothing. A valid split
that is not given is the end of the text, never blocks from within it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from shoal.datasets.cut import refuse_size, valid_size
from shoal.datasets.digest import SPLITS, add_tensor
from shoal.datasets.examples import Data, Examples
from shoal.datasets.prepare import check_names
from shoal.datasets.tokens import Tokenizer, characters_of, checked, tokenizer_for
from shoal.errors import DataError
from shoal.files import expanded
from shoal.recipe import parse, parts
from shoal.recipe.parts import DatasetPart


def build(part: DatasetPart, tokenizer: Tokenizer | None = None) -> Data:
    """Return the text at `dataset.path`: a file, or a folder with train.txt and, where there are, the other splits.

    `tokenizer` is that of a run whose model is to read this text, in place of the text's own.
    """
    assert isinstance(part, parts.PlainText)
    errors = "surrogateescape" if part.tokenizer == "bytes" else "strict"
    texts = {split: _read(path, errors) for split, path in _files(part.path).items()}
    known = tokenizer or tokenizer_for(part.tokenizer, "".join(texts.values()))
    return blocks(texts, known, context=part.context, stride=part.stride, valid=part.valid)


def from_text(
    text: str | Mapping[str, str],
    *,
    tokenizer: Any = "characters",
    context: int = 128,
    stride: int | None = None,
    valid: float | None = None,
) -> Data:
    """Return a text, or one for each split, as data for `shoal.train(dataset=...)`.

    `tokenizer` is "characters", "bytes", or an object with `encode(text)` and `decode(tokens)`, such as those of
    tokenizers, tiktoken or transformers. `context` and `stride` count tokens. Raises DataError, and RecipeError for
    settings out of range.

    >>> data = from_text("to be or not to be " * 40, context=8)
    >>> data.input_shape, data.sizes, data.classes
    ((8,), {'train': 85, 'valid': 9}, 7)
    """
    texts = _texts(text)
    known = tokenizer_for(tokenizer, "".join(texts.values())) if isinstance(tokenizer, str) else checked(tokenizer)
    said = {"name": "text", "tokenizer": known.plain["tokenizer"], "context": context, "stride": stride, "valid": valid}
    part = parse({"dataset": said}).dataset
    assert isinstance(part, parts.PlainText)
    found = blocks(texts, known, context=part.context, stride=part.stride, valid=part.valid)
    return replace(found, part=part.model_dump(mode="json"))


def _texts(text: Any) -> dict[str, str]:
    texts = dict(cast("Mapping[str, Any]", text)) if isinstance(text, Mapping) else {"train": text}
    check_names(texts)
    for split, found in texts.items():
        if not isinstance(found, str):
            raise DataError(
                f"{split}: found a {type(found).__name__}: expected a text, such as Path('book.txt').read_text()."
            )
    return texts


def blocks(
    texts: Mapping[str, str], tokenizer: Tokenizer, *, context: int, stride: int | None, valid: float | None
) -> Data:
    """Return the data of texts by split: inputs and targets [N, context] of tokens."""
    step = stride or context
    tokens = {split: tokenizer.encoded(texts[split], split) for split in SPLITS if split in texts}
    identity, notes = _digest(tokens, tokenizer), list[str]()
    if "valid" in tokens:
        refuse_size(valid)
    else:
        size = valid_size(_count(tokens["train"], context, context), valid)
        if size:
            _check_length("train", len(tokens["train"]), (size + 1) * context + 2, f"{size:,} of valid and one more")
            at = len(tokens["train"]) - size * context - 1
            tokens = {**tokens, "train": tokens["train"][:at], "valid": tokens["train"][at:]}
        notes.append(_note(size))
    splits = {
        split: _examples(split, tokens[split], context=context, stride=step if split == "train" else context)
        for split in SPLITS
        if split in tokens
    }
    characters = sum(map(len, texts.values()))
    return Data(
        splits=splits,
        input_shape=(context,),
        target_shape=(context,),
        classes=tokenizer.size,
        class_counts=None,
        digest=identity,
        normalisation=None,
        notes=(f"text: {characters:,} characters, {_total(tokens):,} tokens of {tokenizer.size:,} kinds", *notes),
        encoding={
            "kind": "text",
            **tokenizer.plain,
            "context": context,
            "characters_per_token": characters / _total(tokens),
        },
    )


def _files(path: str | None) -> dict[str, Path]:
    expected = "a text file, or a folder with train.txt (and valid.txt, test.txt)"
    if path is None:
        raise DataError(f"dataset.path is not set: expected {expected}. Say where it is: dataset.path=FILE.")
    place = expanded(path)
    if place.is_file():
        return {"train": place}
    found = {split: place / f"{split}.txt" for split in SPLITS if (place / f"{split}.txt").is_file()}
    if "train" not in found:
        what = "has no train.txt" if place.is_dir() else "does not exist"
        raise DataError(f"dataset.path = {path!r}: {what}; expected {expected}.")
    return found


def _read(path: Path, errors: str) -> str:
    try:
        return path.read_bytes().decode("utf-8", errors)  # as it is: `read_text` would turn \r\n into \n
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start:,} is not UTF-8 text ({error.reason}). Convert the file to UTF-8, or read it "
            "as bytes: dataset.tokenizer=bytes."
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error


def _count(tokens: Tensor, context: int, stride: int) -> int:
    """How many blocks fit, each with the token after it."""
    return max(0, (len(tokens) - 1 - context) // stride + 1)


def _total(tokens: Mapping[str, Tensor]) -> int:
    return sum(map(len, tokens.values()))


def _examples(split: str, tokens: Tensor, *, context: int, stride: int) -> Examples:
    _check_length(split, len(tokens), context + 1, "one")
    view = tokens.unfold(0, context + 1, stride)
    return Examples(view[:, :-1], view[:, 1:], tokens=True)


def _check_length(split: str, length: int, needed: int, blocks: str) -> None:
    if length < needed:
        raise DataError(
            f"{split}: the text has {length:,} tokens: expected at least {needed:,}, for blocks of dataset.context "
            f"tokens ({blocks}) and the token after each. Give a smaller dataset.context, or more text."
        )


def _note(size: int) -> str:
    if not size:
        return "valid: none; nothing is evaluated as training goes"
    return f"valid: the last {size:,} block{'s' * (size != 1)} of the text"


def _digest(tokens: Mapping[str, Tensor], tokenizer: Tokenizer) -> str:
    found = hashlib.sha256(f"text {tokenizer.size} {characters_of(tokenizer)!r}\n".encode())
    for split in SPLITS:
        if split in tokens:
            add_tensor(found, split, tokens[split].to(torch.int64))
    return found.hexdigest()
