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
        for name, kind in (("tokens", int), ("temperature", int | float), ("top", int | None), ("seed", int)):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind):
                what = "a number" if name == "temperature" else "a whole number"
                raise InputError(f"{name} = {value!r}: expected {what}.")
        if self.seed < 0:
            raise InputError(f"seed = {self.seed}: expected 0 or more.")
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
    weights: str | None = None,
) -> Iterator[str]:
    """Yield the text that a run's model adds to a prompt, piece by piece; an empty prompt is a new line.

    `weights` are raw, average or best; None takes those that count. Raises InputError where the run was not trained on
    text.
    """
    facts: dict[str, Any] = record.read(folder).get("data") or {}
    encoding: dict[str, Any] = facts.get("encoding") or {}
    if encoding.get("kind") != "text":
        raise InputError(
            f"{folder.label} was trained on {facts.get('name')}: only runs trained on text can be sampled."
        )
    known = recorded(encoding, tokenizer)
    if known.size != facts.get("classes"):
        raise InputError(
            f"the tokenizer has {known.size:,} kinds of tokens, and {folder.label} was trained on "
            f"{facts.get('classes')}: pass the one that it was trained with."
        )
    where = choose(device)
    model = trained_model(folder, objects, weights=weights).to(where)
    started = _tokens(known, prompt) or _start(known)
    return _pieces(model, known, started, int(encoding["context"]), sampling, where)


def _pieces(
    model: nn.Module, known: Tokenizer, tokens: list[int], context: int, sampling: Sampling, device: torch.device
) -> Iterator[str]:
    """Decode as far as whole characters go: a character may take several tokens."""
    draws, added, said = generator(sampling.seed, "sample"), list[int](), ""
    alone = known.plain["tokenizer"] != "external"  # a token's text does not depend on those before it
    with torch.no_grad():
        for _ in range(sampling.tokens):
            inputs = torch.tensor([tokens[-context:]], device=device)
            tokens.append(_chosen(model(inputs)[0, -1].float().cpu(), sampling, draws))
            added.append(tokens[-1])
            text = known.decode(added)
            if not text.endswith("\N{REPLACEMENT CHARACTER}"):
                yield text[len(said) :]
                said = "" if alone else text
                if alone:
                    added.clear()
    if added and (rest := known.decode(added)[len(said) :]):
        yield rest


def _chosen(outputs: Tensor, sampling: Sampling, draws: torch.Generator) -> int:
    if sampling.temperature == 0:
        return int(outputs.argmax())
    if sampling.top is not None and sampling.top < len(outputs):
        likeliest = outputs.topk(sampling.top).indices  # with ties, no more than these
        outputs = torch.full_like(outputs, float("-inf")).index_copy(0, likeliest, outputs[likeliest])
    shares = ((outputs - outputs.max()).double() / sampling.temperature).softmax(0)
    return int(torch.multinomial(shares, 1, generator=draws))


def _start(known: Tokenizer) -> list[int]:
    """What stands before the first word where there is no prompt: a new line, or the first token there is."""
    if "\n" not in str(known.plain.get("characters", "\n")) or known.plain["tokenizer"] == "external":
        return [0]
    return _tokens(known, "\n")


def _tokens(known: Tokenizer, text: str) -> list[int]:
    return cast("list[int]", known.encoded(text, "the prompt").tolist())
