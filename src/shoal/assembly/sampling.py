"""Text from a trained language model, token by token: a function of the prompt, the settings and the seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from shoal.assembly.devices import choose
from shoal.assembly.objects import Objects
from shoal.assembly.trained import trained_model
from shoal.datasets.tokens import Tokenizer, recorded
from shoal.errors import InputError
from shoal.rng import generator
from shoal.store import RunFolder, record


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen.

    tokens: how many to add; temperature: what outputs are divided by, 0 takes the likeliest; top: only that many of the
    likeliest are drawn from, None for all; seed: of the draws.
    """

    tokens: int = 500
    temperature: float = 0.8
    top: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise InputError(f"tokens = {self.tokens}: expected at least 1.")
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature = {self.temperature}: expected 0 (the likeliest token) or more.")
        if self.top is not None and self.top < 1:
            raise InputError(f"top = {self.top}: expected at least 1, or nothing for all tokens.")


def sample(
    folder: RunFolder,
    prompt: str = "",
    sampling: Sampling = Sampling(),
    *,
    objects: Objects = Objects(),
    tokenizer: Any = None,
    device: str = "cpu",
) -> Iterator[str]:
    """Yield the text that a run's model adds to a prompt, piece by piece; an empty prompt is a new line.

    Raises InputError where the run was not trained on text.
    """
    facts: dict[str, Any] = record.read(folder).get("data") or {}
    encoding: dict[str, Any] = facts.get("encoding") or {}
    if encoding.get("kind") != "text":
        raise InputError(
            f"{folder.label} was trained on {facts.get('name')}: only runs trained on text can be sampled."
        )
    known = recorded(encoding, tokenizer)
    where = choose(device)
    model = trained_model(folder, objects).to(where)
    started = _tokens(known, prompt) or _start(known)
    return _pieces(model, known, started, int(encoding["context"]), sampling, where)


def _pieces(
    model: nn.Module, known: Tokenizer, tokens: list[int], context: int, sampling: Sampling, device: torch.device
) -> Iterator[str]:
    """Decode as far as whole characters go: a character may take several tokens."""
    draws, first, said, text = generator(sampling.seed, "sample"), len(tokens), "", ""
    with torch.no_grad():
        for _ in range(sampling.tokens):
            inputs = torch.tensor([tokens[-context:]], device=device)
            tokens.append(_chosen(model(inputs)[0, -1].float().cpu(), sampling, draws))
            text = known.decode(tokens[first:])
            if not text.endswith("\N{REPLACEMENT CHARACTER}"):
                yield text[len(said) :]
                said = text
    if text != said:
        yield text[len(said) :]


def _chosen(outputs: Tensor, sampling: Sampling, draws: torch.Generator) -> int:
    if sampling.temperature == 0:
        return int(outputs.argmax())
    if sampling.top is not None and sampling.top < len(outputs):
        least = outputs.topk(sampling.top).values[-1]
        outputs = outputs.masked_fill(outputs < least, float("-inf"))
    return int(torch.multinomial((outputs / sampling.temperature).softmax(0), 1, generator=draws))


def _start(known: Tokenizer) -> list[int]:
    """What stands before the first word where there is no prompt: a new line, or the first token there is."""
    try:
        return _tokens(known, "\n") or [0]
    except InputError:
        return [0]


def _tokens(known: Tokenizer, text: str) -> list[int]:
    return cast("list[int]", known.encoded(text, "the prompt").tolist())
