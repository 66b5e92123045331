"""Batches of a user's Dataset, read at their addresses by whichever process: an example that cannot be read is named.

Where that is allowed it is left out instead. In training another example of its batch takes its place, the next one in
order that could be read, so that batches keep their size; in an evaluation the batch is smaller. What stands in a batch
depends on its address and on which of its examples are broken, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import get_worker_info

from shoal.datasets.checks import check_label
from shoal.datasets.items import Item, collate, place, read
from shoal.datasets.posts import Posts
from shoal.errors import ShoalError, TrainingError, ran_out, said

MEMORY_ADVICE = "Memory ran out there: take fewer dataset.workers, a smaller batch_size, or smaller examples."


class Address(NamedTuple):
    """Which batch is asked for; with fewer examples than `places` it is filled up by repeating its first."""

    epoch: int
    batch: int
    indices: Sequence[int]
    places: int = 0


class Fetched(NamedTuple):
    """What is answered: a batch, or why there is none. `inputs` is None where all examples of it were left out.

    indices: the examples of the batch, of which the first `size` count; broken: those that were left out, and why.
    """

    inputs: Tensor | None
    targets: Tensor | None
    error: Exception | None = None
    indices: Sequence[int] = ()
    size: int = 0
    broken: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True)
class Reader:
    """A Dataset, and how batches of it are read; `skips`: examples that cannot be read are left out.

    `classes`: how many there are where targets are labels; a label out of their range is a broken example. In worker
    processes, `posts` are where they say what they are at.
    """

    dataset: Any
    seed: int
    training: bool
    skips: bool = False
    classes: int | None = None
    posts: Posts | None = None

    def read(self, address: Address) -> Fetched:
        """Return a batch. The generators of torch, NumPy and Python are left at another place.

        Raises TrainingError or DataError that names the example that cannot be read.
        """
        try:
            items, broken = self._items(address)
            if not items and self.training:
                raise TrainingError(self._all_broken(address, broken))
            return self._batch(address, items, broken)
        except ShoalError:
            raise
        except Exception as error:  # a boundary: torch's own, and memory that runs out as a batch is put together
            advice = f" {MEMORY_ADVICE}" if ran_out(error) else ""
            what = f"batch {address.batch + 1:,} could not be put together"
            raise TrainingError(f"{what}: {said(error)}{self._when(address)}.{advice}") from error

    def _items(self, address: Address) -> tuple[dict[int, Item], dict[int, str]]:
        """The examples that could be read, and why others could not."""
        items, broken = dict[int, Item](), dict[int, str]()
        for index in address.indices:
            if self.posts is not None:
                self.posts.begin(address.epoch, index)
            try:
                items[index] = read(self.dataset, index, seed=self.seed, epoch=address.epoch)
                check_label(items[index][1], self.classes, partial(place, self.dataset, index))
            except ShoalError as error:
                items.pop(index, None)
                cause = error.__cause__
                if not self.skips or not _is_broken(cause):
                    raise self._explained(error, address, cause) from cause
                broken[index] = str(error)
        if self.posts is not None:
            self.posts.rest()
        return items, broken

    def _batch(self, address: Address, items: Mapping[int, Item], broken: Mapping[int, str]) -> Fetched:
        chosen = substituted(address.indices, items) if self.training else list(items)
        left_out = tuple(broken.items())
        if not chosen:
            return Fetched(None, None, broken=left_out)
        filled = [*chosen, *[chosen[0]] * max(0, address.places - len(chosen))]
        inputs, targets = collate([items[index] for index in filled], filled)
        return Fetched(inputs, targets, None, filled, len(chosen), left_out)

    def _explained(self, error: ShoalError, address: Address, cause: BaseException | None) -> ShoalError:
        """The error with when it was and what to do; one about what the Dataset returned says what was expected."""
        if not isinstance(error, TrainingError):
            return type(error)(f"{error} Or leave such examples out: dataset.broken=skip.")
        advice = "Mend that example, or leave it out: dataset.broken=skip."
        if cause is not None and ran_out(cause):
            advice = MEMORY_ADVICE
        elif not _is_broken(cause):
            advice = "That ends a process, and reading must not: raise an Exception instead (ValueError, say)."
        return TrainingError(f"{error}{self._when(address)}. {advice} Start again to resume.")

    def _all_broken(self, address: Address, broken: Mapping[int, str]) -> str:
        first = next(iter(broken.values()))
        return (
            f"none of the {len(broken):,} examples of batch {address.batch + 1:,} could be read{self._when(address)}, "
            f"and dataset.broken=skip needs one at least: {first}. Mend them."
        )

    def _when(self, address: Address) -> str:
        return (f", in epoch {address.epoch + 1:,}" if self.training else ", in an evaluation") + by_worker()


def _is_broken(cause: BaseException | None) -> bool:
    """Whether an example is at fault: memory may be there the next time, and what ends a process is no example's."""
    return cause is None or (isinstance(cause, Exception) and not ran_out(cause))


def substituted(indices: Sequence[int], readable: Mapping[int, object]) -> list[int]:
    """Return indices with each that is not readable replaced by the next one that is, past the end the first.

    >>> substituted([7, 3, 9, 4], {3: ..., 9: ...})
    [3, 3, 9, 3]
    """
    following = next(index for index in indices if index in readable)
    chosen: list[int] = []
    for index in reversed(indices):
        following = index if index in readable else following
        chosen.append(following)
    return chosen[::-1]


def by_worker() -> str:
    """Return ` (worker 1 of 2)` in a worker process, '' elsewhere."""
    info = get_worker_info()
    return "" if info is None else f" (worker {info.id + 1} of {info.num_workers})"
