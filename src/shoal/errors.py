"""The exceptions of Shoal, how their messages name the nearest valid thing, and what other exceptions say.

    ShoalError
    ├── InputError            what was asked cannot be done as asked (exit code 2)
    │   ├── RecipeError       a key, name or value of a recipe
    │   ├── DataError         a data file, or what is in it
    │   ├── StoreError        a runs folder, or a run that was named
    │   └── LiveRunError      the run is being trained by another process
    ├── TrainingError         the training began and could not go on (exit code 1)
    │   └── NonFiniteError    the loss became NaN or infinite
    ├── CheckpointError       no checkpoint can be trusted, or one cannot be written (exit code 1)
    └── ExportError           a model cannot be written in the form that was asked for (exit code 1)

A message has the value, the place, what was expected, the nearest valid name, and what to do.
"""

from __future__ import annotations

import difflib
import errno
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class ShoalError(Exception):
    """Any error that Shoal raises on purpose; its text is meant for the person who reads the screen."""

    exit_code = 1


class InputError(ShoalError):
    """What was asked cannot be done as asked; nothing was changed."""

    exit_code = 2


class RecipeError(InputError):
    """A key, a name or a value of a recipe is not valid."""


class DataError(InputError):
    """A data file is missing or damaged, or its content cannot be trained on."""


class StoreError(InputError):
    """A runs folder cannot be used, or no run answers to the name given."""


class LiveRunError(InputError):
    """The run is being trained by a live process."""


class TrainingError(ShoalError):
    """A training that had begun could not go on."""


class NonFiniteError(TrainingError):
    """A loss or gradient was not finite, or the loss leapt, at `step`; the weights are those from before its update.

    `batch` says which batch that was, and of which examples, as `run.json` has it.
    """

    def __init__(
        self, text: str, *, step: int | None = None, cause: str = "", batch: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(text)
        self.step, self.cause, self.batch = step, cause, batch


class OutOfMemoryError(TrainingError):
    """There was no memory left, at `step` (from 1) where it was in one; the weights are of no use then."""

    def __init__(self, text: str, *, step: int | None = None) -> None:
        super().__init__(text)
        self.step = step


class CheckpointError(ShoalError):
    """A checkpoint cannot be written, or none of those present can be trusted."""


class ExportError(ShoalError):
    """A model cannot be written in the form that was asked for."""


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `name` is most likely a misspelling of, or None.

    >>> nearest("adamv", ["sgd", "adamw"])
    'adamw'
    """
    close = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.55)
    return close[0] if close else None


def unknown(what: str, name: str, candidates: Iterable[str]) -> str:
    """Return the sentence for a name that is in no table: the nearest one, then the whole list.

    >>> unknown("optimizer", "adamv", ["sgd", "adamw"])
    "unknown optimizer 'adamv': did you mean 'adamw'? There are: adamw, sgd."
    """
    names = sorted(candidates)
    close = nearest(name, names)
    hint = f"did you mean '{close}'? " if close else ""
    return f"unknown {what} '{name}': {hint}There are: {', '.join(names) if names else 'none'}."


def other_format(written: int, ours: int) -> str:
    """Return what is to be said of a file of another format than ours, with what to do.

    >>> other_format(2, 1)
    'of format 2, newer than this Shoal reads (1): upgrade Shoal'
    """
    if written > ours:
        return f"of format {written}, newer than this Shoal reads ({ours}): upgrade Shoal"
    return f"of format {written}, older than this Shoal reads ({ours}): use the Shoal that wrote it"


OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
"""What the messages of torch's allocators, and of those below them, have in them."""


def ran_out(error: BaseException) -> bool:
    """Return whether an error says that there was no memory left, of a device or of the machine.

    >>> ran_out(MemoryError()), ran_out(RuntimeError("CUDA out of memory.")), ran_out(ValueError("out of memory"))
    (True, True, False)
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def said(error: BaseException) -> str:
    """Return an exception as a clause: its kind, and its first line, with the next where that only announces it.

    >>> said(ValueError("no such picture.\\nat all"))
    'ValueError: no such picture'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return f"{type(error).__name__}: {first.rstrip('.')}" if first else type(error).__name__


def place_of(error: BaseException) -> str:
    """Return where the user's own code was when it was raised, whatever that called: ` (FILE, line 3, in NAME)`.

    An installed package stands for it where there is none; '' where all of it is Shoal's, torch's or Python's own.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return f" ({own[-1].filename}, line {own[-1].lineno}, in {own[-1].name})" if own else ""


def _is_users(file: str) -> bool:
    """Whether a file is neither Shoal's, nor torch's, nor of Python's own library."""
    loaded = [getattr(sys.modules.get(name), "__file__", None) for name in ("shoal", "torch")]
    if not file.endswith(".py") or any(Path(file).is_relative_to(Path(each).parent) for each in loaded if each):
        return False
    return "site-packages" in file or not Path(file).is_relative_to(Path(traceback.__file__).parent)
