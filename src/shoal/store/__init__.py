"""Run folders: identity, status, lock, record, history and provenance of one run, and the catalogue of many.

Plain files only, and nothing here imports torch or pydantic: `shoal ls` must answer at once, on a machine that could
not train the runs it lists. `provenance` is not imported here: it needs `importlib.metadata`, and only training asks.
"""

from shoal.store.catalog import Summary, summaries
from shoal.store.folder import create, find, remove, set_aside, sweep
from shoal.store.journal import Journal, last_row, latest, read_journal
from shoal.store.layout import RunFolder, RunId
from shoal.store.lock import RunLock, is_live, owner
from shoal.store.lookup import resolve
from shoal.store.record import STATUSES

__all__ = [
    "STATUSES",
    "Journal",
    "RunFolder",
    "RunId",
    "RunLock",
    "Summary",
    "create",
    "find",
    "is_live",
    "last_row",
    "latest",
    "owner",
    "read_journal",
    "remove",
    "resolve",
    "set_aside",
    "summaries",
    "sweep",
]
