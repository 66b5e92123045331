"""Averages of a model's weights, by name: what is averaged, and how an average moves. Not for when: that is scheduled.

`share` is how much of the way to the present weights an average goes. A constant 1 - decay makes it exponential
(EMA), 1 / (n + 1) at the n-th weights (n = 0, 1, ...) the plain mean (SWA). A share of 1 takes the weights over as
they are, one of 0 leaves the average as it is; so a step that is recorded once can average at some steps only. (As a
tensor, a share of 0 or 1 may turn -0.0 into 0.0; as a number it changes no bit.)

Parameters and floating buffers are averaged, integer buffers (`num_batches_tracked`) copied. After a plain mean, batch
norms have the mean of many weights' statistics, which is not that of the mean's: `batch_norms` computes it anew, as
`spectral_norms` does the vectors of spectral norms, whose mean is no unit vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from shoal.errors import CheckpointError
from shoal.optim import foreach

Tree = dict[str, Tensor]


class Average:
    """A running average of weights, which starts at those it is made from.

    Its tensors stay the same ones as it is updated and loaded, so a recorded step may hold them.

    >>> average = Average({"w": torch.tensor([0.0, 4.0])})
    >>> average.update({"w": torch.tensor([1.0, 0.0])}, share=0.25)
    >>> average.weights()
    {'w': tensor([0.2500, 3.0000])}
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.average: Tree = {name: value.detach().clone() for name, value in weights.items()}

    @classmethod
    def over(cls, average: Tree) -> Average:
        """Return an average whose tensors are those given, and not copies of them: for a functional step."""
        made = cls({})
        made.average = average
        return made

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], share: float | Tensor) -> None:
        """Move the average a share of the way to the weights, in place; share is a number or [], within 0..1."""
        floating, whole = _kinds(self.average)
        foreach.move_([self.average[name] for name in floating], [weights[name] for name in floating], share)
        for name in whole:
            self.average[name].copy_(_taken(self.average[name], weights[name], share))

    def weights(self) -> Tree:
        """Return the average by name: its own tensors, which the next update changes."""
        return dict(self.average)

    def state_dict(self) -> Tree:
        """Return the average by name: live tensors, to be saved before the next update."""
        return dict(self.average)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy a saved average in; raises CheckpointError, and changes nothing, where names or shapes differ."""
        if set(state) != set(self.average):
            missing, extra = sorted(set(self.average) - set(state)), sorted(set(state) - set(self.average))
            raise CheckpointError(
                "the saved average of the weights is that of another model: "
                f"missing {', '.join(missing) or 'nothing'}, left over {', '.join(extra) or 'nothing'}."
            )
        for name, value in self.average.items():
            if value.shape != state[name].shape:
                raise CheckpointError(
                    f"{name} is {tuple(value.shape)} in the model and {tuple(state[name].shape)} in the saved average."
                )
        for name, value in self.average.items():
            value.copy_(state[name])


@torch.no_grad()
def averaged(average: Tree, weights: Tree, share: float | Tensor) -> Tree:
    """Return what `Average.update` writes: the average after a move to the weights, as new tensors."""
    floating, whole = _kinds(average)
    values = foreach.moved([average[name] for name in floating], [weights[name] for name in floating], share)
    moved = dict(zip(floating, values, strict=True))
    moved |= {name: _taken(average[name], weights[name], share) for name in whole}
    return {name: moved[name] for name in average}


@torch.no_grad()
def lookahead(slow: Tree, fast: Tree, alpha: float | Tensor) -> tuple[Tree, Tree]:
    """Return slow and fast parameters after a step of the slow ones: slow += alpha (fast - slow), fast := slow.

    Lookahead (Zhang et al. 2019, arXiv 1907.08610, algorithm 1). An alpha of 0 is a step at which the slow ones rest:
    both come back as they are. The optimizer's slots stay as they are, as in the paper's experiments.
    """
    moved = averaged(slow, fast, alpha)
    return moved, {name: _taken(value, moved[name], alpha) for name, value in fast.items()}


@torch.no_grad()
def lookahead_(slow: Tree, fast: Tree, alpha: float) -> None:
    """Do as `lookahead` does, in place, at a step of the slow parameters."""
    slower, faster = list(slow.values()), [fast[name] for name in slow]
    foreach.move_(slower, faster, alpha)
    foreach.copy_(faster, slower)


def _kinds(tree: Mapping[str, Tensor]) -> tuple[Sequence[str], Sequence[str]]:
    """The names of tensors that are averaged, and of those that are copied."""
    split: dict[bool, list[str]] = {True: [], False: []}
    for name, value in tree.items():
        split[value.is_floating_point() or value.is_complex()].append(name)
    return split[True], split[False]


def _taken(old: Tensor, new: Tensor, share: float | Tensor) -> Tensor:
    """The new tensor, or the old one where the share is 0."""
    if isinstance(share, Tensor):
        return torch.where(share > 0, new, old)
    return new.clone() if share > 0 else old.clone()
