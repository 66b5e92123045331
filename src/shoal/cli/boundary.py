"""Where errors end: each becomes one message on stderr and an exit code. Nothing is swallowed.

0 done; 1 failed (an unexpected exception keeps its traceback); 2 bad input; 75 stopped and resumable; 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from shoal.cli.app import app
from shoal.errors import ShoalError
from shoal.pages.formats import clean

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process by default) and return the exit code."""
    _prepare_streams()
    try:
        code = _guarded(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except BrokenPipeError:  # `shoal ls | head -1`: the reader has what it wanted
        _discard_output()
        return 0
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
    except BrokenPipeError:
        raise
    except Exception:  # noqa: BLE001 the boundary of the process: the traceback is kept
        sys.stdout.flush()
        sys.stderr.write(clean(traceback.format_exc(), keep="\n\t"))
        return FAILED


def _invoke(words: Sequence[str]) -> int:
    try:
        with app.make_context("shoal", list(words)) as context:
            code: object = app.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return code if isinstance(code, int) else 0


def _refused(message: str, code: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"shoal: {clean(message, keep=chr(10))}\n")
    return code


def _misused(error: click.ClickException) -> int:
    """Say what was wrong with the command line, and where its help is."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    place = context.command_path if context else "shoal"
    return _refused(f"{error.format_message()}\nTry '{place} --help'.", BAD_INPUT)


def _prepare_streams() -> None:
    """Output never fails for its characters, nor because the process was started without an output."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 open until the process ends
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _discard_output() -> None:
    """Python flushes stdout once more as it exits: let that go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    finally:
        os.close(nowhere)
