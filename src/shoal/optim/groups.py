"""Which parameters are updated alike: what is decayed, what has a learning rate of its own, what Muon leaves to AdamW.

There is one group where nothing differs, for each costs a kernel launch a step. Multipliers come by patterns of names;
a name stands for itself and for all below it, and the last pattern that fits a parameter counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from shoal.errors import RecipeError, nearest
from shoal.optim.rule import Hyper
from shoal.recipe.optimizer_parts import Muon, OptimizerPart, multipliers

Groups = list[dict[str, Any]]

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)  # pyright: ignore[reportPrivateUsage]

SHOWN = 6
"""Names of parameters that a message lists."""


@dataclass(frozen=True)
class NamedGroup:
    """Parameters that one rule updates with the same hyperparameters.

    `lr_multiplier` and `decay` multiply the recipe's learning rate and weight decay, at every step; `decay` is 0 where
    parameters are not decayed. `rest` marks what Muon leaves to AdamW.
    """

    names: tuple[str, ...]
    lr_multiplier: float = 1.0
    decay: float = 1.0
    rest: bool = False

    def scaled(self, hyper: Hyper) -> Hyper:
        """Return what the group's rule is to be given, of the whole recipe's hyperparameters."""
        own = dict(hyper)
        if self.lr_multiplier != 1:
            own["lr"] = own["lr"] * self.lr_multiplier
        if self.decay != 1:
            own["weight_decay"] = own["weight_decay"] * self.decay if self.decay else 0.0
        return own


def named_groups(part: OptimizerPart, model: nn.Module) -> list[NamedGroup]:
    """Return the groups of a model's trainable parameters, the decayed ones first.

    Raises RecipeError for a pattern that fits none of them.
    Without weight decay nothing is split by it: for a stack in which some runs have none, ask with that of another run.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    lr = _by_pattern("lr_multipliers", part.lr_multipliers, trainable)
    decay = _by_pattern("decay_multipliers", part.decay_multipliers, trainable)
    bare = set[str]() if part.decay_biases_and_norms else set(_biases_and_norms(model))
    rest = _rest(part, model, trainable) if isinstance(part, Muon) else set[str]()
    alike: dict[tuple[bool, float, float], list[str]] = {}
    for name in trainable:
        share = decay.get(name, 0.0 if name in bare else 1.0) if part.weight_decay else 1.0
        alike.setdefault((name in rest, lr.get(name, 1.0), share), []).append(name)
    groups = [
        NamedGroup(tuple(names), lr_multiplier=factor, decay=share, rest=apart)
        for (apart, factor, share), names in alike.items()
    ]
    return sorted(groups, key=lambda group: group.decay == 0)


def parameter_groups(part: OptimizerPart, model: nn.Module) -> Groups:
    """Return a model's groups as torch's classes take them, with what differs from the recipe in each.

    `lr_multiplier` and `decay_multiplier` are there where they are not 1, for schedules to keep to; a group that is not
    decayed is marked `undecayed`, so that a schedule of weight decay leaves it at 0.
    """
    parameters = dict(model.named_parameters())
    return [_torch_group(part, group, parameters) for group in named_groups(part, model)]


def _torch_group(part: OptimizerPart, group: NamedGroup, parameters: Mapping[str, nn.Parameter]) -> dict[str, Any]:
    made: dict[str, Any] = {"params": [parameters[name] for name in group.names]}
    if group.lr_multiplier != 1:
        made |= {"lr": part.lr * group.lr_multiplier, "lr_multiplier": group.lr_multiplier}
    if group.decay == 0:
        made |= {"weight_decay": 0.0, "undecayed": True}
    elif group.decay != 1:
        made |= {"weight_decay": part.weight_decay * group.decay, "decay_multiplier": group.decay}
    if group.rest:
        made["rest"] = True
    return made


def _by_pattern(key: str, texts: Sequence[str], names: Collection[str]) -> dict[str, float]:
    """The factor of every parameter that a pattern fits."""
    found: dict[str, float] = {}
    for pattern, factor in multipliers(texts):
        found |= dict.fromkeys(_matching(key, pattern, names), factor)
    return found


def _matching(key: str, pattern: str, names: Collection[str]) -> list[str]:
    chosen = [name for name in names if fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")]
    if not chosen:
        near = nearest(pattern, names)
        hint = f"did you mean {near!r}? " if near else ""
        some = sorted(names)[:SHOWN]
        more = f" and {len(names) - len(some)} more" if len(names) > len(some) else ""
        raise RecipeError(
            f"optimizer.{key}: the pattern {pattern!r} fits no parameter that is trained: {hint}expected the start of "
            f"a name, or a pattern with * that fits one of {', '.join(some)}{more}."
        )
    return chosen


def _rest(part: Muon, model: nn.Module, names: Mapping[str, nn.Parameter]) -> set[str]:
    """What Muon leaves to AdamW: embeddings, biases, norms, what is no matrix, and what is excluded.

    A single column is none, such as the lengths of weight norm, [out, 1]: made orthogonal it loses its values.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    rest = {name for name, p in names.items() if p.ndim < 2 or p.numel() == p.shape[0] or id(p) in tables}
    for pattern in part.exclude:
        rest.update(_matching("exclude", pattern, names))
    return rest | (set(_biases_and_norms(model)) & set(names))


def _biases_and_norms(model: nn.Module) -> Iterator[str]:
    """Names of biases, of scales and shifts of normalisation layers, and of whatever else has at most one axis."""
    norms = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
    for name, parameter in model.named_parameters():
        if parameter.ndim <= 1 or name.rpartition(".")[2] == "bias" or id(parameter) in norms:
            yield name
