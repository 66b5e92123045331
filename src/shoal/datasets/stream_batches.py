"""Batches of a stream: pass after pass, each from its start to its end, in the order in which examples come.

Before a batch is read the generators of torch, NumPy and Python are seeded from (seed, pass, worker, batch), so a
stream that draws from them gives the same examples whenever it is read again. To begin at a step, the batches of its
pass that come before it are read and dropped. Which pass that is, and at which step it began, is in `bookmark`, which
is saved with the run: how long passes are is not known beforehand, and a stream may end whenever it likes.

With workers, each process reads the stream on its own and gives whole batches, which are taken in turn: batches
depend on how many workers there are, and so does the identity of a run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from shoal import rng
from shoal.datasets.batches import START, Batch, Batches, Origin, Position, closed
from shoal.datasets.checks import check_label
from shoal.datasets.crew import TIMEOUT, Crew, portable
from shoal.datasets.examples import Stream
from shoal.datasets.items import as_pair, collate, is_the_users
from shoal.datasets.posts import Post, Posts
from shoal.datasets.reading import Fetched, by_worker
from shoal.errors import DataError, ShoalError, TrainingError, place_of, said

MOST_EVALUATED = 10_000_000
"""An evaluation stream that has not ended after these examples has no end."""
REMEMBERED = 1000
"""Passes of which it is known at which step they began, to say where the examples of a step came from."""


class Bookmark:
    """The pass that was begun last, and the step that was its first; saved with a run as callbacks are."""

    name = "stream"

    def __init__(self) -> None:
        self.number = self.began = 0
        self.recent = deque([(0, 0)], maxlen=REMEMBERED)

    def begin(self, number: int, step: int) -> None:
        """Note that a pass begins with a step."""
        self.number, self.began = number, step
        self.recent.append((number, step))

    def holding(self, step: int) -> tuple[int, int] | None:
        """Return the pass that had a step, and its first step; None where it is not remembered."""
        return next(((number, began) for number, began in reversed(self.recent) if began <= step), None)

    def before(self, step: int) -> tuple[int, int]:
        """Return a pass that began at or before a step, and its first step."""
        return (self.number, self.began) if self.began <= step else (0, 0)

    def evaluated(self, engine: Any, rows: Sequence[Any]) -> None:
        """See an evaluation; nothing depends on it."""

    def stop(self) -> str | None:
        """Never ask to stop."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the pass and its first step."""
        return {"number": self.number, "began": self.began}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.recent.clear()
        self.begin(int(state["number"]), int(state["began"]))


class StreamBatches:
    """Batches of one split that is a stream; a smaller last batch of a pass is left out in training with `drop_last`.

    `steps` stands for the batches of an epoch where the stream has no length: all training is then one epoch, however
    many passes it takes. A batch's `index` counts the examples of its pass. Nothing is padded.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        batch_size: int,
        seed: int,
        drop_last: bool,
        device: torch.device | str,
        workers: int,
        training: bool,
        steps: int | None = None,
        timeout: float | None = TIMEOUT,
    ) -> None:
        self.stream, self.workers, self.training = stream, workers, training
        self.batch_size, self.seed = batch_size, seed
        self.device = torch.device(device)
        self.whole = training and drop_last
        self.bookmark = Bookmark()
        self._crew = Crew(workers, seed, self.device.type == "cuda", timeout, self._named)
        self.per_epoch = self._per_epoch(steps)

    def start(self, at: Position = START) -> Iterator[Batch]:
        """Yield the batches from `at` on: pass after pass without end in training, one pass in evaluation."""
        number, step = self.bookmark.before(at.step)
        while True:
            first = step
            with closing(self._fetched(number)) as fetched:
                for inputs, targets in fetched:
                    if step >= at.step:
                        yield self._batch(inputs, targets, step, (step - first) * self.batch_size)
                    step += 1
                    self._refuse_endless(step - first)
            if not self.training:
                return
            if step == first:
                raise self._nothing(number)
            number += 1
            self.bookmark.begin(number, step)

    def origin(self, at: Position) -> Origin | None:
        """Return what the training batch at a position is made of: places in its pass over the stream."""
        held = self.bookmark.holding(at.step)
        if held is None:
            return None
        number, began = held
        first = (at.step - began) * self.batch_size
        places = range(first, first + self.batch_size)
        return Origin.at(at, places, f"pass {number + 1:,} of {self.stream.name}")

    def try_out(self) -> None:
        """Read the first batch; raises DataError where there is none."""
        with closing(read(self.stream, self.batch_size, seed=self.seed, number=0, whole=self.whole)) as batches:
            if next(batches, None) is None:
                raise self._nothing(0)

    def skipping(self, at: Position) -> str:
        """Return the sentence that says what is read and dropped to begin at a position."""
        number, began = self.bookmark.before(at.step)
        count = at.step - began
        return (
            f"{self.stream.name} is read again from its start: {count:,} batch{'es' * (count != 1)} of pass "
            f"{number + 1:,} {'are' if count != 1 else 'is'} skipped"
        )

    def _per_epoch(self, steps: int | None) -> int:
        if self.stream.length is None:
            return steps or 1
        whole, left = divmod(self.stream.length, self.batch_size)
        return max(1, whole + (left > 0 and not self.whole))

    def _batch(self, inputs: Tensor, targets: Tensor, step: int, first: int) -> Batch:
        return Batch(
            inputs=inputs.to(self.device, non_blocking=True),
            targets=targets.to(self.device, non_blocking=True),
            index=torch.arange(first, first + len(inputs), device=self.device),
            weight=None,
            size=len(inputs),
            position=Position(*divmod(step, self.per_epoch), step),
        )

    def _fetched(self, number: int) -> Generator[tuple[Tensor, Tensor]]:
        if self.workers:
            yield from self._in_workers(number)
            return
        pinned = self.device.type == "cuda"
        for inputs, targets in read(self.stream, self.batch_size, seed=self.seed, number=number, whole=self.whole):
            if pinned:
                inputs, targets = inputs.pin_memory(), targets.pin_memory()
            yield inputs, targets

    def _in_workers(self, number: int) -> Generator[tuple[Tensor, Tensor]]:
        """One set of workers for a pass: which of them ends first is not known before."""
        posts = Posts(self.workers)
        share = _Share(self.stream, self.batch_size, seed=self.seed, number=number, whole=self.whole, posts=posts)
        with self._crew.reading(share, posts) as answers:
            for inputs, targets, *_ in answers:
                assert inputs is not None and targets is not None
                yield inputs, targets

    def _named(self, post: Post) -> str:
        return f"{self.stream.name}, pass {post.epoch + 1:,}, after {post.example:,} examples of its share"

    def _nothing(self, number: int) -> ShoalError:
        kind = TrainingError if number else DataError
        return kind(
            f"{self.stream.name} ended in its pass {number + 1:,} without a batch of {self.batch_size:,} examples. "
            "Give it more, choose a smaller batch_size, or dataset.drop_last=false; where nothing comes a second time, "
            "let its __iter__ begin anew whenever it is called."
        )

    def _refuse_endless(self, batches: int) -> None:
        if not self.training and batches * self.batch_size > MOST_EVALUATED:
            raise DataError(
                f"{self.stream.name} has given {MOST_EVALUATED:,} examples and not ended, and an evaluation reads all "
                "of it: expected a stream that ends. Cut it, for example with itertools.islice, or pass arrays."
            )


@contextmanager
def beginning(batches: Batches) -> Generator[Iterator[Batch]]:
    """Yield batches from the start, for a look at them beside the training, which stays where it is in a stream.

    The batches are closed at the end of the block, and so are their workers.
    """
    bookmark = batches.bookmark if isinstance(batches, StreamBatches) else None
    before = None if bookmark is None else bookmark.state_dict()
    try:
        with closed(batches.start(START)) as stream:
            yield stream
    finally:
        if bookmark is not None and before is not None:
            bookmark.load_state_dict(before)


class _Share(IterableDataset[Fetched]):
    """A pass as one worker reads it: finished batches, and errors as the last of them."""

    def __init__(self, stream: Stream, batch_size: int, *, seed: int, number: int, whole: bool, posts: Posts) -> None:
        self.stream, self.batch_size = stream, batch_size
        self.seed, self.number, self.whole, self.posts = seed, number, whole, posts

    def __iter__(self) -> Iterator[Fetched]:
        info = get_worker_info()
        worker = 0 if info is None else info.id
        batches = read(
            self.stream,
            self.batch_size,
            seed=self.seed,
            number=self.number,
            whole=self.whole,
            worker=worker,
            begin=self.posts.begin,
        )
        try:
            for inputs, targets in batches:
                self.posts.rest()
                yield Fetched(inputs, targets)
            self.posts.rest()
        except ShoalError as error:
            yield Fetched(None, None, portable(error))


def read(
    stream: Stream,
    batch_size: int,
    *,
    seed: int,
    number: int,
    whole: bool,
    worker: int = 0,
    begin: Callable[[int, int], None] | None = None,
) -> Generator[tuple[Tensor, Tensor]]:
    """Yield the batches of one pass over a stream: inputs [B, ...] float32, targets [B] int64 or [B, ...] float32.

    With `whole`, a smaller last batch is left out. `begin` is told of the pass, and of how many examples came before
    each batch. The caller's generators are left alone. Raises DataError that names an example that is not like the
    first one, and TrainingError where the stream itself raises.
    """
    iterator: Iterator[Any] | None = None
    count = 0
    while True:
        if begin is not None:
            begin(number, count)
        with rng.preserved():
            rng.seed_all(rng.key(seed, "stream", number, worker, count // batch_size))
            try:
                if iterator is None:
                    iterator = _begun(stream.source, number)
                found = _taken(iterator, batch_size)
            except BaseException as error:  # a boundary: the code is the user's, and the traceback is kept as the cause
                if not is_the_users(error):
                    raise
                where = f"{stream.name} raised after {count:,} or more examples of pass {number + 1:,}{by_worker()}"
                raise TrainingError(f"{where}: {said(error)}{place_of(error)}") from error
        if not found or (whole and len(found) < batch_size):
            return
        yield _collated(stream, found, count, number)
        count += len(found)


def _begun(source: Any, number: int) -> Iterator[Any]:
    tell = getattr(source, "set_epoch", None)
    if callable(tell):
        tell(number)
    return iter(source)


def _taken(iterator: Iterator[Any], count: int) -> list[Any]:
    """The next of a stream, at most so many; `islice` would call `iter` at each batch, with which many begin anew."""
    found: list[Any] = []
    with suppress(StopIteration):
        while len(found) < count:
            found.append(next(iterator))
    return found


def _collated(stream: Stream, found: Sequence[Any], first: int, number: int) -> tuple[Tensor, Tensor]:
    places = range(first, first + len(found))
    items = [as_pair(item, _place(stream, place, number)) for item, place in zip(found, places, strict=True)]
    for (x, y), place in zip(items, places, strict=True):
        if x.shape != stream.input_shape or y.shape != stream.target_shape:
            raise DataError(
                f"{_place(stream, place, number)} has an input of shape {tuple(x.shape)} and a target of shape "
                f"{tuple(y.shape)}: expected {stream.input_shape} and {stream.target_shape}, as its first example has."
            )
        check_label(y, stream.classes, partial(_place, stream, place, number))
    return collate(items, places)


def _place(stream: Stream, place: int, number: int) -> str:
    return f"example {place:,} of {stream.name}, pass {number + 1:,},"
