"""What a person sees while a run trains: a line an evaluation, a progress bar in a terminal, plain lines in a pipe,
one display that changes in place in a notebook.

Everything said is in `train.log` too. Names and notes come from data: nothing of them acts on a terminal. A metric of
averaged weights stands behind that of the weights as they are, after the word avg. In a terminal a line that is too
long is broken between its cells. A screen that goes away (a closed pipe, a hung-up terminal) does not stop the
training. Lines are written to a terminal a few times a second, together: small models evaluate faster than that.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shoal.assembly.notebook import NotebookBar, in_notebook
from shoal.pages.formats import clean, measure
from shoal.pages.splits import AVERAGED
from shoal.store import RunFolder

FLUSH_SECONDS = 0.1
GAP = "  "


def broken(cells: Sequence[str], width: int) -> str:
    """Return the cells of a line, in as many lines as they need; those after the first begin under the second cell.

    >>> print(broken(["step 9", "train.loss 0.1000", "valid.loss 0.2000"], 30))
    step 9  train.loss 0.1000
            valid.loss 0.2000
    """
    lines, margin = [cells[0]], " " * len(cells[0])
    for cell in cells[1:]:
        longer = f"{lines[-1]}{GAP}{cell}"
        if len(longer) <= width or lines[-1] == margin:
            lines[-1] = longer
        else:
            lines.append(f"{margin}{GAP}{cell}")
    return "\n".join(lines)


class Screen:
    """One run's output. `quiet` shows nothing (the log is still written); `verbose` adds what was decided and why."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        quiet: bool = False,
        verbose: int = 0,
        watcher: Callable[[RunFolder, int, int], None] | None = None,
    ) -> None:
        self.stream = stream or sys.stdout
        self.quiet, self.verbose = quiet, verbose
        self.notebook = stream is None and in_notebook()
        self.console = Console(file=self.stream, soft_wrap=True, highlight=False, force_jupyter=False)
        self.log: TextIO | None = None
        self.run: RunFolder | None = None
        self.watcher = watcher
        """Hears the run, the step and the number of steps, a few times a second."""
        self.pending: list[str] = []
        self.flushed = 0.0
        self.bar: Progress | None = None
        self.display: NotebookBar | None = None
        self.first = self.total = 0
        self.began = 0.0
        self.widths: dict[str, int] = {}

    def attach(self, run: RunFolder) -> None:
        """Write what is said from now on to a run's log as well."""
        self.run = run
        self.log = run.log.open("a", buffering=1, encoding="utf-8")

    def log_only(self, text: str) -> None:
        """Write to the log what is not shown; a log that cannot be written any more stops nothing."""
        if self.log is None:
            return
        try:
            self.log.write(f"{text}\n")
        except OSError as error:
            self._close_log()
            self.say(f"train.log cannot be written any more ({error.strerror}); nothing else depends on it.")

    def say(self, text: str) -> None:
        """Show a sentence."""
        text = clean(text, keep="\n\t")
        self.log_only(text)
        self._out(text)
        self._flush()

    def detail(self, text: str) -> None:
        """Show a sentence where the person asked for more (`-v`); log it always."""
        text = clean(text, keep="\n\t")
        self.log_only(text)
        if self.verbose:
            self._out(text)
            self._flush()

    def failed(self, text: str) -> None:
        """Log why the training failed; whoever started it shows it."""
        self.log_only("failed: " + clean(text, keep="\n\t"))

    def begin(self, *, step: int, total: int) -> None:
        """Start the progress bar."""
        self.first, self.total, self.began = step, total, time.monotonic()
        self._tell(step)
        if self.notebook and not self.quiet:
            self._flush()
            self.display = NotebookBar(first=step, total=total)
        if self.quiet or self.notebook or not self.console.is_terminal:
            return
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("step {task.completed:,}/{task.total:,}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            auto_refresh=False,
            transient=True,
        )
        self.bar.add_task("training", total=total, completed=step, rate="")
        self._guarded(self.bar.start)

    def progress(self, step: int) -> None:
        """Move the bar; called a few times a second."""
        self._flush()
        self._tell(step)
        if self.display is not None:
            self.display.move(step)
        if self.bar is not None:
            rate = (step - self.first) / max(time.monotonic() - self.began, 1e-9)
            self._guarded(lambda: self._move(step, f"{rate:,.0f} steps/s"))

    def row(self, row: Mapping[str, Any]) -> None:
        """Show one row of history as a line."""
        cells = [clean(cell) for cell in self._line(row)]
        self.log_only(GAP.join(cells))
        if self.display is not None:
            self.display.measured(int(row["step"]), self._cells(row))
            return
        self._out(broken(cells, self.console.width) if self.console.is_terminal else GAP.join(cells))
        if time.monotonic() - self.flushed >= FLUSH_SECONDS:
            self._flush()

    def show(self, renderable: RenderableType) -> None:
        """Show a table, or whatever rich can render."""
        self.end()
        if self.console.is_terminal:
            self._guarded(lambda: None if self.quiet else self.console.print(renderable))
        else:  # not by rich, which ends the process where nobody reads any more
            plain = Console(file=io.StringIO(), width=self.console.width, force_terminal=False, force_jupyter=False)
            with plain.capture() as captured:
                plain.print(renderable, soft_wrap=True)
            self._out(captured.get().rstrip("\n"))
            self._flush()

    def end(self) -> None:
        """Take the bar away."""
        self._flush()
        if self.display is not None:
            display, self.display = self.display, None
            display.stop()
        if self.bar is not None:
            bar, self.bar = self.bar, None
            self._guarded(bar.stop)

    def close(self) -> None:
        """Take the bar away and close the log."""
        self.end()
        self._close_log()

    def _tell(self, step: int) -> None:
        if self.watcher is not None and self.run is not None:
            self.watcher(self.run, step, self.total)

    def _move(self, step: int, rate: str) -> None:
        assert self.bar is not None
        self.bar.update(self.bar.task_ids[0], completed=step, rate=rate, refresh=True)

    def _line(self, row: Mapping[str, Any]) -> list[str]:
        cells = [f"step {row['step']:>{len(f'{self.total:,}')},}"]
        if "epoch" in row:
            cells.append(f"epoch {row['epoch']:6.2f}")
        for name, text in self._cells(row).items():
            self.widths[name] = max(self.widths.get(name, 0), len(text))
            cells.append(f"{name} {text:>{self.widths[name]}}")
        return cells

    def _cells(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Every metric's name and value; that of averaged weights behind the value without averaging, where it is."""
        cells: dict[str, str] = {}
        for name, value in row.items():
            if name in ("step", "epoch"):
                continue
            text = f"{value:.4g}" if name == "lr" else measure(value)
            beside = name.replace(f"{AVERAGED}.", ".", 1)
            if beside != name and beside in cells:
                cells[beside] += f" avg {text}"
            else:
                cells[name] = text
        return cells

    def _close_log(self) -> None:
        log, self.log = self.log, None
        if log is not None:
            with suppress(OSError):  # what could not be written before
                log.close()

    def _out(self, text: str) -> None:
        if not self.quiet:
            self.pending.append(text)

    def _flush(self) -> None:
        self.flushed = time.monotonic()
        if not self.pending:
            return
        text = "\n".join(self.pending)
        self.pending.clear()
        if self.console.is_terminal:
            self._guarded(lambda: self.console.print(escape(text)))
        else:
            self._guarded(lambda: print(text, file=self.stream, flush=True))

    def _guarded(self, write: Any) -> None:
        """Write; where nobody reads any more, fall silent and train on."""
        try:
            write()
        except (OSError, ValueError):
            self.quiet, self.bar = True, None
            self.pending.clear()
