"""Open runs that are on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from shoal.api.many import Runs
from shoal.api.run import Run
from shoal.assembly import Objects
from shoal.errors import StoreError
from shoal.files import expanded
from shoal.store import resolve, summaries


def load(
    run: str | Path,
    *,
    runs: str | Path = "runs",
    model: Callable[..., Any] | None = None,
    dataset: Any = None,
    loss: Callable[..., Any] | None = None,
) -> Run:
    """Open a run: by folder, by label, or by a prefix of its signature (with /seed-n where there are several).

    `model`, `dataset` and `loss` pass again what was passed to `train` as objects, for `run.model()` and `run.test()`.
    Raises StoreError for a run that is not there.
    """
    return Run(resolve(Path(runs), str(run)), Objects(dataset=dataset, model=model, loss=loss))


def runs(folder: str | Path = "runs") -> Runs:
    """Return every run in a runs folder, by label: a sequence with `where` and `frame`."""
    folder = expanded(folder)
    if not folder.is_dir():
        raise StoreError(f"{str(folder)!r} is not a folder of runs.")
    return Runs(Run(summary.folder) for summary in summaries(folder))
