"""Event files, which TensorBoard reads: a copy of the history, rows as they come, and hyperparameters.

Written by TensorBoard's own record writer, in this thread: a disk that is full is an OSError here, not in a thread that
nobody watches. A file is never appended to by a later attempt: resuming writes a new one from the history as it was
cut, and takes the old ones away, so that nothing of what was purged stays and a torn file is never read. `tensorboard`
is imported here and not by what imports this when it is asked for: it takes 0.3 s.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from math import isfinite, nan
from pathlib import Path
from typing import Any, cast

from tensorboard.plugins.hparams import metadata  # pyright: ignore[reportMissingTypeStubs]
from tensorboard.summary.writer.record_writer import RecordWriter  # pyright: ignore[reportMissingTypeStubs]

from shoal.pages.board_files import EVENTS, SUFFIX, event_files
from shoal.pages.formats import clean
from shoal.pages.splits import split_of
from shoal.store import RunFolder, read_journal, record

SUCCESS = 1
"""STATUS_SUCCESS of TensorBoard's hyperparameters."""


def proto(name: str) -> Any:
    """Return a module of protocol buffers: it makes its classes as it is imported, so that no type checker knows them.

    >>> proto("compat.proto.event_pb2").Event(step=3).step
    3
    """
    return import_module(f"tensorboard.{name}")


Event = proto("compat.proto.event_pb2").Event
Summary = proto("compat.proto.summary_pb2").Summary
hparams = proto("plugins.hparams.plugin_data_pb2")


def tag(name: str) -> str:
    """Return what TensorBoard calls a column, so that train, valid and averaged weights are drawn beside each other.

    >>> [tag(name) for name in ("train.loss", "valid.loss", "valid_average.loss", "test.top5.accuracy", "lr")]
    ['loss/train', 'loss/valid', 'loss/valid_average', 'top5.accuracy/test', 'lr']
    """
    name = clean(name)
    split = split_of(name)
    return f"{name.partition('.')[2]}/{split}" if split else name.replace(".", "/")


class EventFile:
    """One event file open for writing; raises OSError where the disk is full or may not be written."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / f"{EVENTS}.{time.time():.6f}.{os.getpid()}{SUFFIX}"
        self._file = self.path.open("wb")
        self._writer: Any = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def row(self, row: Mapping[str, Any], wall_time: float) -> None:
        """Write the columns of a row of history, each as a scalar at the row's step; null is NaN."""
        values = [
            Summary.Value(tag=tag(name), simple_value=finite(value))
            for name, value in row.items()
            if name != "step" and isinstance(value, int | float | None)
        ]
        self.summary(values, step=int(row["step"]), wall_time=wall_time)

    def summary(self, values: Sequence[Any], *, step: int, wall_time: float | None = None) -> None:
        """Write values of one step."""
        self._write(Event(wall_time=wall_time or time.time(), step=step, summary=Summary(value=values)))

    def graph(self, definition: Any) -> None:
        """Write the graph of a model."""
        self._write(Event(wall_time=time.time(), graph_def=definition.SerializeToString()))

    def hyperparameters(self, values: Mapping[str, Any], *, name: str, started: float) -> None:
        """Write what a run was trained with; null and lists as text."""
        info = hparams.SessionStartInfo(group_name=name, start_time_secs=started)
        for key, value in values.items():
            _set(info.hparams[key], value)
        self._plugin(metadata.SESSION_START_INFO_TAG, hparams.HParamsPluginData(session_start_info=info))

    def finished(self, *, at: float) -> None:
        """Write that the run with these hyperparameters has ended well."""
        info = hparams.SessionEndInfo(status=SUCCESS, end_time_secs=at)
        self._plugin(metadata.SESSION_END_INFO_TAG, hparams.HParamsPluginData(session_end_info=info))

    def flush(self) -> None:
        """Hand what was written to the system, so that TensorBoard sees it and a kill loses none of it."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def _plugin(self, name: str, content: Any) -> None:
        known: Any = metadata.create_summary_metadata(content)  # pyright: ignore[reportUnknownVariableType]
        self.summary([Summary.Value(tag=name, metadata=known, tensor=metadata.NULL_TENSOR)], step=0)

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


def rewrite(target: Path, folder: RunFolder, values: Mapping[str, Any]) -> EventFile:
    """Write a run's history and hyperparameters (`values`, under dotted keys) to a new event file in `target`.

    The new one is whole before those that were there are taken away. It is returned, open for what is to come.
    """
    events = EventFile(target)
    try:
        facts = record.read(folder)
        started = _seconds(facts.get("started"))
        events.hyperparameters(values, name=folder.label, started=started)
        for row, wall_time in _history(folder, started):
            events.row(row, wall_time)
        events.flush()
        for old in event_files(target):
            if old != events.path:
                old.unlink(missing_ok=True)
    except BaseException:
        with suppress(OSError):  # a disk that is full refuses what is still to be flushed
            events.close()
        events.path.unlink(missing_ok=True)
        raise
    return events


def conclude(events: EventFile, folder: RunFolder) -> int:
    """Write a run's final metrics, and whether it ended well; return the step that they are of."""
    facts = record.read(folder)
    step, metrics = int(facts.get("steps") or 0), cast("dict[str, float]", facts.get("metrics") or {})
    final = [Summary.Value(tag=f"final/{name}", simple_value=finite(value)) for name, value in metrics.items()]
    events.summary(final, step=step)
    if facts.get("status") == "finished":
        events.finished(at=time.time())
    events.flush()
    return step


def _history(folder: RunFolder, started: float) -> Iterator[tuple[Mapping[str, Any], float]]:
    """The rows of history with the time each was written at, as far as it is known."""
    times, wall_time = read_journal(folder.timing)[0], started
    for number, row in enumerate(read_journal(folder.history)[0]):
        if number < len(times) and isinstance(times[number].get("time"), int | float):
            wall_time = float(times[number]["time"])
        if isinstance(row.get("step"), int):
            yield row, wall_time


def finite(value: float | None) -> float:
    """Return a value of history, which has no word for what is not finite but null, as a number."""
    return float(value) if value is not None and isfinite(value) else nan


def _set(place: Any, value: Any) -> None:
    """Fill in a protocol buffer's Value."""
    if isinstance(value, bool):
        place.bool_value = value
    elif isinstance(value, int | float):
        place.number_value = value
    else:
        place.string_value = "null" if value is None else clean(value)


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else time.time()
