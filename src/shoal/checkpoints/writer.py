"""Write checkpoints while training goes on: state is copied at once, and a thread writes the copy.

Training waits for the copy, and for the checkpoint before where that is still being written: there is one at a time, so
memory holds one copy at most, and checkpoints appear in the order of their steps. What writing raised is raised at the
next `check`, `save` or `wait`: no failure goes unseen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shoal.checkpoints.retain import prune
from shoal.checkpoints.save import staged, write


class Writer:
    """Writes the checkpoints of one run; `keep` and `also` say which are kept, as in `prune`."""

    def __init__(self, checkpoints: Path, keep: int, *, also: str | None = None) -> None:
        self.checkpoints, self.keep, self.also = checkpoints, keep, also
        self.seconds = 0.0
        """What the last checkpoint took, from the copy to the end."""
        self.stall = 0.0
        """For how long training waited, in all."""
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(
        self, step: int, states: Mapping[str, Any], meta: Mapping[str, Any], *, first: Callable[[], None] | None = None
    ) -> None:
        """Copy named states and have them written; `first` is called before, by the thread that writes.

        Raises CheckpointError where state is not plain, and what writing the checkpoint before raised.
        """
        began = time.monotonic()
        self.wait()
        copy, meta = staged(states), dict(meta)

        def work() -> None:
            try:
                if first is not None:
                    first()
                write(self.checkpoints, step, copy, meta)
                prune(self.checkpoints, self.keep, also=self.also)
                self.seconds = time.monotonic() - began
            except BaseException as error:  # noqa: BLE001  (it is raised again where training can see it)
                self._error = error

        self._thread = threading.Thread(target=work, name="checkpoint")
        self._thread.start()
        self.stall += time.monotonic() - began

    def check(self) -> None:
        """Raise what writing raised, if it has; waits for nothing."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Wait until nothing is being written; raise what writing raised."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error
