"""Where errors end: each becomes one message on stderr and an exit code. Nothing is swallowed.

0 done; 1 failed (an unexpected exception keeps its traceback); 2 bad input; 75 stopped and resumable; 130 Ctrl-C. An
output that nobody reads any more changes none of them.
"""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

import click

from shoal.cli.app import app
from shoal.cli.output import GONE
from shoal.errors import ShoalError
from shoal.pages.formats import clean

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process by default) and return the exit code."""
    _prepare_streams()
    code = _guarded(sys.argv[1:] if words is None else words)
    lost = _flushed(sys.stdout)
    if lost is not None:
        code = code or _unread(lost)
    _flushed(sys.stderr)
    return code


def _guarded(words: Sequence[str]) -> int:
    try:
        return _invoke(words)
    except ShoalError as error:
        return _refused(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _refused("interrupted", INTERRUPTED)
    except click.ClickException as error:
        return _misused(error)
    except click.Abort:
        return _refused("nothing was done", FAILED)
    except Exception as error:  # noqa: BLE001 the boundary of the process: the traceback is kept
        if isinstance(error, OSError) and error.errno in GONE and _left(sys.stdout):
            return _unread(error)
        _say(clean(traceback.format_exc(), keep="\n\t"))
        return FAILED


def _invoke(words: Sequence[str]) -> int:
    try:
        with app.make_context("shoal", list(words)) as context:
            code: object = app.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return code if isinstance(code, int) else 0


def _refused(message: str, code: int) -> int:
    _say(f"shoal: {clean(message, keep=chr(10))}\n")
    return code


def _misused(error: click.ClickException) -> int:
    """Say what was wrong with the command line, and where its help is."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    place = context.command_path if context else "shoal"
    return _refused(f"{error.format_message()}\nTry '{place} --help'.", BAD_INPUT)


def _unread(error: OSError) -> int:
    """The exit code where what was to be shown could not be written."""
    if error.errno in GONE:  # `shoal ls | head -1`: the reader has what it wanted
        return 0
    return _refused(f"the output could not be written: {error.strerror}.", FAILED)


def _left(stream: TextIO) -> bool:
    """Whether its reader has left; to flush it would not tell, for without a buffer nothing is kept of what failed."""
    poll = select.poll()
    with suppress(OSError, ValueError):
        poll.register(stream.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _say(text: str) -> None:
    """Write to stderr, after what is on its way to stdout."""
    _flushed(sys.stdout)
    with suppress(OSError):
        sys.stderr.write(text)


def _prepare_streams() -> None:
    """Output never fails for its characters, nor because the process was started without an output."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed: a file of the run would be opened under this number, and be written to as output
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        stream = getattr(sys, name)
        if name == "stdin":
            continue
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 open until the process ends
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _flushed(stream: TextIO) -> OSError | None:
    """Flush a stream; where that cannot be, let what it holds go nowhere and return the error.

    Python flushes it once more as it exits, and would complain.
    """
    try:
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
        return error
    return None
