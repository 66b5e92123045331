"""Progress in a notebook: one display, changed in place a few times a second. It needs no widgets.

IPython is used where it runs already, and is never imported otherwise.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from shoal.pages import formats
from shoal.pages.notebook import progress_html

SECONDS = 0.25
"""Between two changes of the display, at least."""


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    found: Any = sys.modules.get("IPython")
    shell: Any = found.get_ipython() if found is not None and hasattr(found, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


class NotebookBar:
    """How far a training is, in one output of a cell."""

    def __init__(self, *, first: int, total: int) -> None:
        self.step, self.first, self.total = first, first, total
        self.row: Mapping[str, str] = {}
        self.began = self.shown = time.monotonic()
        self.display: Any = import_module("IPython.display")
        self.handle: Any = self.display.display(self._drawn(""), display_id=True)

    def move(self, step: int) -> None:
        """Show that a step was reached."""
        self.step = step
        self._refresh()

    def measured(self, step: int, row: Mapping[str, str]) -> None:
        """Show the metrics of an evaluation."""
        self.step, self.row = step, row
        self._refresh()

    def stop(self) -> None:
        """Leave the display as it is, with the time that it took."""
        self._update(f" in {formats.duration(time.monotonic() - self.began)}")

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self.shown < SECONDS:
            return
        rate = (self.step - self.first) / max(now - self.began, 1e-9)
        left = f", {formats.duration((self.total - self.step) / rate)} left" if rate > 0 else ""
        self._update(f", {rate:,.0f} steps/s{left}")

    def _update(self, words: str) -> None:
        self.shown = time.monotonic()
        if self.handle is not None:
            self.handle.update(self._drawn(words))

    def _drawn(self, words: str) -> Any:
        return self.display.HTML(progress_html(step=self.step, total=self.total, words=words, row=self.row))
