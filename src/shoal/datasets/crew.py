"""Worker processes that read examples: started, waited for, and gone with the training, however either ends.

They ignore signals: those reach the whole process group, and it is the training that decides what they mean (it saves
and then stops the workers). One that is killed, crashes or hangs is noticed where its batch is waited for, and never
in the midst of a step or of a save; the error says which it was and what it was reading.
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

from shoal import rng
from shoal.datasets.posts import Post, Posts
from shoal.datasets.reading import MEMORY_ADVICE, Fetched
from shoal.errors import ShoalError, TrainingError, ran_out, said

TIMEOUT = 600.0
"""Seconds that a batch may take, unless the recipe says otherwise."""
POLL_SECONDS = 1.0
"""How soon a worker that died is noticed."""
GONE_SECONDS = 1.0
"""How long a process may take to be gone once its end of a pipe is closed."""
STOP_SECONDS = 1.0
"""How long a process may go on with what it reads once it is asked to stop."""
PARENT_DEATH_SIGNAL = 1
"""Linux's prctl: the signal that a process gets when its parent ends."""
ADVICE = {
    "SIGKILL": "The system kills processes where memory runs out: take fewer dataset.workers or a smaller batch_size.",
    "SIGBUS": "Shared memory (/dev/shm) may be full: take fewer dataset.workers or a smaller batch_size.",
}


@dataclass(frozen=True)
class Crew:
    """The workers of one split; `named` says in words what a post is: `Faces[3] in epoch 2`."""

    workers: int
    seed: int
    pinned: bool
    timeout: float | None
    named: Callable[[Post], str]

    @contextmanager
    def reading(self, source: Any, posts: Posts, *, sampler: Any = None) -> Generator[Iterator[Fetched]]:
        """Start workers that read a source; yield what they fetch; stop them at the end of the block or the process.

        source: a Dataset of Fetched, asked for what the sampler gives, or an iterable one; errors come as answers.
        """
        bound = threading.current_thread() is threading.main_thread()  # else they would end with the thread
        loader: DataLoader[Any] = DataLoader(
            source,
            batch_size=None,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=as_it_is,
            worker_init_fn=partial(prepare, posts=posts, bound=bound),
            pin_memory=self.pinned,
            timeout=POLL_SECONDS,
            generator=rng.generator(self.seed, "workers"),  # else it would draw from the caller's
        )
        with _running(loader) as (iterator, started):
            yield self._fetched(iterator, started, posts)

    def _fetched(self, iterator: Iterator[Fetched], started: Sequence[Any], posts: Posts) -> Iterator[Fetched]:
        """Yield what workers fetch; raise what they raised, and where one ended or hangs."""
        while (found := self._following(iterator, started, posts)) is not None:
            if found.error is not None:
                raise found.error from found.error.__dict__.pop("worker_cause", None)
            yield found

    def _following(self, iterator: Iterator[Fetched], started: Sequence[Any], posts: Posts) -> Fetched | None:
        began = time.monotonic()
        while True:
            try:
                return next(iterator, None)
            except (RuntimeError, OSError, EOFError) as error:
                late = "timed out" in str(error)  # after POLL_SECONDS, by torch
                dead = _ended(started, error, wait=0.0 if late else GONE_SECONDS)
                if dead is not None:
                    raise TrainingError(self._died(dead, posts)) from error
                if not late:
                    advice = f" {MEMORY_ADVICE}" if ran_out(error) else ""
                    raise TrainingError(
                        f"what worker processes read could not be received: {said(error)}.{advice} Start again to "
                        "resume; with dataset.workers=0 examples are read in the training process."
                    ) from error
                if self.timeout is not None and time.monotonic() - began >= self.timeout:
                    raise TrainingError(self._hangs(started, posts)) from None

    def _died(self, child: Any, posts: Posts) -> str:
        """Say which worker ended, how, and at what."""
        post, code = posts.of(child.pid), int(child.exitcode)
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        how = f"was killed by {name}" if code < 0 else f"ended by itself (exit code {code})"
        at = "before it read anything" if post is None else "between two batches"
        if post is not None and post.busy:
            at = f"while it read {self.named(post)}"
        which = "a worker" if post is None else f"worker {post.worker + 1} of {posts.workers}"
        advice = ADVICE.get(name if code < 0 else "", "Look at what reading that example does.")
        return (
            f"{which}, a process that reads examples, {how} {at}. {advice} Start again to resume; with "
            "dataset.workers=0 examples are read in the training process."
        )

    def _hangs(self, started: Sequence[Any], posts: Posts) -> str:
        """Say which workers are at something."""
        busy: list[str] = []
        for child in started:
            post = posts.of(child.pid)
            if post is not None and post.busy:
                busy.append(f"worker {post.worker + 1} of {posts.workers} still reads {self.named(post)}")
        what = "; ".join(busy) or "all of them wait, so what they sent was lost"
        return (
            f"no batch came from the worker processes for {self.timeout:g} seconds (dataset.worker_timeout): {what}. "
            "Look at what that waits for (a lock, a disk, a network), or raise dataset.worker_timeout. Start again to "
            "resume."
        )


def portable(error: ShoalError) -> ShoalError:
    """The error with its cause where that can be pickled, and the worker's traceback as a note in any case.

    Pickling drops `__cause__` but keeps `__dict__`, which is where the cause travels.
    """
    cause = error.__cause__
    carried = type(error)(str(error))
    if cause is not None:
        carried.add_note("In the worker process:\n" + "".join(traceback.format_exception(cause)))
        try:
            pickle.loads(pickle.dumps(cause))
        except Exception:  # noqa: BLE001  (whatever a user's class does when pickled; the note has its text)
            cause = None
    carried.__dict__["worker_cause"] = cause
    return carried


def as_it_is(fetched: Any) -> Any:
    """Collate nothing: what workers give are whole batches."""
    return fetched


def prepare(worker: int, *, posts: Posts, bound: bool) -> None:
    """Leave signals to the training, and the other cores to the other workers; where `bound`, end with the training."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    posts.arrive(worker)
    if bound and sys.platform == "linux":  # elsewhere torch's workers notice it between two batches
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, int(signal.SIGKILL))
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():  # it ended before that was said
            os._exit(1)


@contextmanager
def _running(loader: DataLoader[Any]) -> Generator[tuple[Iterator[Fetched], Sequence[Any]]]:
    """Start the workers of a loader, and stop them at the end of the block, or of the process."""
    before = set(multiprocessing.active_children())
    iterator = iter(loader)
    started = [child for child in multiprocessing.active_children() if child not in before]
    stop = partial(_stop, iterator, started)
    end = partial(_kill, started)
    atexit.register(end)  # a stream left open: multiprocessing would send SIGTERM and wait for good
    with _unalarmed():
        try:
            yield iterator, started
        finally:
            atexit.unregister(end)
            stop()


@contextmanager
def _unalarmed() -> Generator[None]:
    """Take away the handler of SIGCHLD: torch's raises in whatever the training is doing when a worker ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    theirs = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL if theirs is None else theirs)  # None: not set from Python


def _ended(started: Sequence[Any], error: Exception, *, wait: float) -> Any:
    """Return a worker that ended and should not have, once it is seen to be gone; None where all are there.

    Workers of a stream end well where their share does, so a code of 0 counts where torch missed that worker.
    """
    until = time.monotonic() + wait
    while True:
        for child in started:
            code = child.exitcode
            if code or (code == 0 and "exited unexpectedly" in str(error) and str(child.pid) in str(error)):
                return child
        if time.monotonic() >= until:
            return None
        time.sleep(0.02)


def _stop(iterator: Any, started: Sequence[Any]) -> None:
    """Stop the workers; one that hangs in the user's code ignores SIGTERM and is killed.

    torch waits ten seconds for each of those, and a training that was asked to stop saves after that.
    """
    kill = threading.Timer(STOP_SECONDS, lambda: [child.kill() for child in started])
    kill.daemon = True
    if not sys.is_finalizing():  # no thread begins then
        kill.start()
    shut_down = getattr(iterator, "_shutdown_workers", None)
    if shut_down is not None:
        shut_down()
    kill.cancel()
    _kill(started)


def _kill(started: Sequence[Any]) -> None:
    for child in started:
        if child.is_alive():
            child.kill()
            child.join()
