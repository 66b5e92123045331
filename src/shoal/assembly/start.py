"""Fine-tuning: weights from a run or a safetensors file in place of fresh ones, and parameters that stay as they are.

Names are matched by patterns; what was loaded, what stayed fresh and what was left over is reported. A shape that does
not fit is refused, never skipped in silence: a head for other classes is left out by name. What was loaded identifies
the experiment by its content, wherever it came from. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shoal.assembly.weight_source import encoding_at, weights_at
from shoal.datasets.digest import add_tensor
from shoal.errors import RecipeError, nearest
from shoal.optim.groups import NORMS
from shoal.recipe.schema import Init
from shoal.training.weights import weights_of as weights_in

EMBEDDING = "embed.weight"
"""Of the shipped models of tokens: a row a token."""
TOKENS = ("tokenizer", "characters", "source")
"""Keys of an encoding that say which token is which."""


@dataclass(frozen=True)
class Start:
    """What was loaded and frozen: a digest of each (None where there is nothing), and sentences for the screen."""

    digest: str | None
    frozen: str | None
    report: tuple[str, ...]


def start(init: Init, model: nn.Module, *, runs: Path) -> Start:
    """Load and freeze as a recipe's `init` says, in place; raises RecipeError for what cannot be meant."""
    loaded, report = _loaded(init, model, runs) if init.source is not None else (None, ())
    if init.source is None and (init.include or init.exclude or init.rename):
        raise RecipeError(
            "init.include, init.exclude and init.rename choose among weights that are loaded: expected init.from=RUN "
            "or init.from=FILE.safetensors with them."
        )
    frozen = freeze(model, init.freeze)
    if frozen:
        total = sum(p.numel() for p in model.parameters())
        still = sum(p.numel() for p in model.parameters() if not p.requires_grad)
        said = f"init: {len(frozen)} parameters frozen, {still:,} of {total:,} numbers: {', '.join(init.freeze)}"
        report = (*report, said)
    return Start(loaded, hashlib.sha256("\n".join(frozen).encode()).hexdigest() if frozen else None, report)


def tokens_of(init: Init, *, runs: Path) -> Mapping[str, Any] | None:
    """Return the encoding of the text whose tokens the loaded weights know; None where they know none.

    The rows of an embedding are those of its tokens: it is of use for the same tokens only.
    """
    if init.source is None or not _loads(init, EMBEDDING):
        return None
    encoding = encoding_at(init.source, runs)
    return encoding if encoding.get("kind") == "text" else None


def check_tokens(init: Init, encoding: Mapping[str, Any] | None, *, runs: Path) -> None:
    """Raise RecipeError where a text is in other tokens than the weights that are to be loaded for it."""
    theirs = tokens_of(init, runs=runs)
    if theirs is not None and encoding is not None and any(theirs.get(key) != encoding.get(key) for key in TOKENS):
        raise RecipeError(
            f"init.from = {init.source}: that run reads other tokens than this text is in, so its embedding means "
            "others. Pass its tokenizer, as in shoal.text(text, tokenizer=run.tokenizer()); or keep those parts fresh: "
            "init.exclude=[embed,output]."
        )


def _loads(init: Init, name: str) -> bool:
    chosen = not init.include or any(_means(pattern, name) for pattern in init.include)
    return chosen and not any(_means(pattern, name) for pattern in init.exclude)


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Stop training the parameters whose names match; return their names. Raises RecipeError for an idle pattern.

    Norms all of whose parameters are frozen go into eval mode, where they keep their running statistics.
    """
    parameters = dict(model.named_parameters())
    chosen = {name for pattern in patterns for name in _matching(pattern, parameters, "init.freeze")}
    for name in chosen:
        parameters[name].requires_grad_(False)
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, NORMS) and own and not any(parameter.requires_grad for parameter in own):
            module.eval()
    return sorted(chosen)


def _loaded(init: Init, model: nn.Module, runs: Path) -> tuple[str, tuple[str, ...]]:
    assert init.source is not None
    found, where = weights_at(init.source, runs)
    offered = _renamed(found, init.rename)
    own = weights_in(model)
    wanted = {name for pattern in init.include for name in _matching(pattern, own, "init.include")} or set(own)
    wanted -= {name for pattern in init.exclude for name in _matching(pattern, own, "init.exclude")}
    if not wanted:
        raise RecipeError("init.exclude leaves nothing to load: exclude less, or leave init.from out.")
    both = sorted(wanted & set(offered))
    if not any(name in both for name, _ in model.named_parameters()):
        raise RecipeError(_no_match(init.source, own, offered))
    _check_shapes(init.source, {name: (offered[name].shape, own[name].shape) for name in both})
    for name in both:
        _check_values(init.source, name, offered[name], like=own[name])
    digest = hashlib.sha256()
    with torch.no_grad():
        for name in both:
            own[name].copy_(offered[name])
            add_tensor(digest, name, own[name].cpu())
    return digest.hexdigest(), _report(where, both, own, offered)


def _check_shapes(source: str, shapes: Mapping[str, tuple[Sequence[int], Sequence[int]]]) -> None:
    """Raise RecipeError where tensors have other shapes there than in the model, with what leaves them out."""
    wrong = {name: pair for name, pair in shapes.items() if tuple(pair[0]) != tuple(pair[1])}
    if not wrong:
        return
    name, (there, here) = next(iter(wrong.items()))
    if len(wrong) == len(shapes):
        raise RecipeError(
            f"init.from = {source}: nothing there fits this model: {name}, for one, has shape {list(there)} there and "
            f"{list(here)} in the model. Choose weights of such a model."
        )
    modules = dict.fromkeys(found.rpartition(".")[0] or found for found in wrong)
    more = f", and {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
    raise RecipeError(
        f"init.from = {source}: {name} has shape {list(there)} there and {list(here)} in the model{more}. To keep them "
        f"fresh, leave them out: init.exclude=[{','.join(modules)}]."
    )


def _check_values(source: str, name: str, found: Tensor, *, like: Tensor) -> None:
    """Raise RecipeError for weights that are no real numbers where the model has such, or are not finite."""
    if found.is_floating_point() != like.is_floating_point():
        raise RecipeError(
            f"init.from = {source}: {name} is {str(found.dtype).removeprefix('torch.')} there and "
            f"{str(like.dtype).removeprefix('torch.')} in the model. Store it as that; quantised weights have to be "
            "scaled back first."
        )
    if found.is_floating_point() and not bool(found.isfinite().all()):
        raise RecipeError(f"init.from = {source}: {name} holds NaN or infinity there: nothing can be trained from it.")


def _renamed(found: Mapping[str, Tensor], renames: Sequence[str]) -> dict[str, Tensor]:
    names = {name: name for name in found}
    for rename in renames:
        old, equals, new = rename.partition("=")
        if not equals:
            raise RecipeError(f"init.rename = {rename!r}: expected OLD=NEW, such as 'module.=' to take a prefix away.")
        moved = {name: new + now.removeprefix(old) for name, now in names.items() if now.startswith(old)}
        if not moved:
            raise RecipeError(f"init.rename = {rename!r}: no name begins with {old!r}; there are {_some(found)}.")
        names |= moved
    came = dict[str, str]()
    for name, now in names.items():
        if now in came:
            raise RecipeError(
                f"init.rename: {came[now]} and {name} would both be {now}. Rename so that each name stays one of its "
                "own, or take the other out of the file."
            )
        came[now] = name
    return {now: found[name] for now, name in came.items()}


def _matching(pattern: str, names: Collection[str], key: str) -> list[str]:
    """The names that a pattern means; a name stands for itself and for all below it."""
    chosen = [name for name in names if _means(pattern, name)]
    if not chosen:
        near = nearest(pattern, names)
        hint = f"did you mean {near!r}? " if near else ""
        raise RecipeError(f"{key} = {pattern!r}: no parameter of the model matches: {hint}There are {_some(names)}.")
    return chosen


def _means(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")


def _no_match(source: str, own: Collection[str], offered: Collection[str]) -> str:
    return (
        f"init.from = {source}: no name there is that of a parameter to load. There: {_some(offered)}; in the model: "
        f"{_some(own)}. init.rename=[OLD=NEW] changes what names begin with."
    )


def _report(
    where: str, both: Collection[str], own: Mapping[str, Tensor], offered: Mapping[str, Tensor]
) -> tuple[str, ...]:
    numbers = sum(own[name].numel() for name in both)
    total = sum(value.numel() for value in own.values())
    said = [f"init: {len(both)} of {len(own)} tensors, {numbers:,} of {total:,} numbers, from {where}"]
    fresh, left = sorted(set(own) - set(both)), sorted(set(offered) - set(both))
    if fresh:
        said.append(f"init: fresh: {_some(fresh)}")
    if left:
        said.append(f"init: left over there: {_some(left)}")
    return tuple(said)


def _some(names: Collection[str]) -> str:
    most = sorted(names)[:6]
    return ", ".join(most) + (f" and {len(names) - len(most)} more" if len(names) > len(most) else "")
