"""Quiet around torch's exporters, which print whole programs, log and warn about what concerns their makers."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

FAILURES = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError)
"""What tracing a model that ran without tracing may raise: its own code sees stand-ins in place of numbers."""


@contextmanager
def hushed() -> Generator[None]:
    """Say nothing on stdout, stderr, in logs or as warnings; exceptions pass. Not for use in several threads."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def cause(error: BaseException) -> str:
    """Return what was at fault in the first place, as one line without a full stop.

    >>> try:
    ...     raise RuntimeError("export failed") from ValueError("no such operator.")
    ... except RuntimeError as error:
    ...     cause(error)
    'no such operator'
    """
    while error.__cause__ is not None:
        error = error.__cause__
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return (line if len(line) <= 200 else f"{line[:197]}...").rstrip(".")
