"""`run.json`: what is known about one run as a whole: its status and why, its plan, its result, where it came from.

Written only by the process that holds the run's lock, always as a whole file; readers need no lock. That process
remembers what it wrote: a file that is removed, spoilt or edited meanwhile is written whole again.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from shoal import files
from shoal.errors import StoreError, other_format
from shoal.store import lock
from shoal.store.layout import SEED, RunFolder

FORMAT = 1
STATUSES = ("queued", "running", "finished", "failed", "stopped", "killed")
TOLD = {"file", "step", "missing", "said"}
"""Keys of what is recorded of a journal that was changed."""
RESERVE_BYTES = 1 << 16
"""The least that is reserved: a record takes a few kilobytes."""


def read(folder: RunFolder) -> dict[str, Any]:
    """Return the record, {} where there is none yet; raises StoreError for one that is damaged or too new."""
    path = folder.record
    check_files(folder)
    try:
        with path.open("rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise StoreError(f"cannot read the record {str(path)!r}: {error.strerror}.") from error
    return parse(content, str(path))


def check_files(folder: RunFolder) -> None:
    """Raise StoreError for a folder, a pipe or a device where a file should be: a pipe would be waited for."""
    for path in (folder.record, folder.recipe, folder.history, folder.timing, folder.log, folder.lock):
        with suppress(OSError):
            if not stat.S_ISREG(path.stat().st_mode):
                raise StoreError(f"{str(path)!r} is a folder, a pipe or a device, not a file. Move it away.")


def parse(content: bytes, where: str) -> dict[str, Any]:
    """Return the record that `content` holds; `where` names it in the StoreError."""
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StoreError(_damaged(where, f"it is not JSON: {error}")) from error
    if not isinstance(found, dict):
        raise StoreError(_damaged(where, "it is no mapping of keys to values"))
    record = cast(dict[str, Any], found)
    written = record.get("format")
    if type(written) is not int:
        raise StoreError(_damaged(where, "it does not say its format"))
    if written != FORMAT:
        raise StoreError(f"the record {where!r} is {other_format(written, FORMAT)}.")
    return record


def known(folder: RunFolder) -> dict[str, Any]:
    """Return the record as `read` does; to the holder of the run's lock what it wrote holds, whatever the file says."""
    own = lock.notes(folder)
    return {**_there(folder), **own} if own else read(folder)


def update(folder: RunFolder, **changes: Any) -> dict[str, Any]:
    """Write the record with `changes` made to it, atomically, and return it. For the holder of the run's lock."""
    record = {"format": FORMAT, **known(folder), **changes}
    record["format"] = FORMAT
    text = files.to_json(record, indent=1) + "\n"
    files.write_atomic(folder.record, text)
    if (own := lock.notes(folder)) is not None:
        own.update(json.loads(text))
    return record


def restored(folder: RunFolder) -> bool:
    """Write the record again where it is not what the holder of the run's lock wrote; return whether it was not."""
    there, whole = _there(folder), known(folder)
    if there != whole:
        update(folder)
    return there != whole


def _there(folder: RunFolder) -> dict[str, Any]:
    try:
        return read(folder)
    except StoreError:
        return {}


def recipe(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the full recipe that a record has; None in one from before there was any in it."""
    found = record.get("recipe")
    return cast(Mapping[str, Any], found) if isinstance(found, dict) else None


def journals(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a record has of journals that were changed: file, step, missing rows, and a sentence."""
    found = record.get("journals")
    told = cast(list[Any], found) if isinstance(found, list) else []
    return [cast(dict[str, Any], one) for one in told if isinstance(one, dict) and one.keys() >= TOLD]


def reserve(folder: RunFolder) -> None:
    """Take room on the disk for `conclude`, beside the record: how a run ended is said on a full disk too."""
    with folder.reserve.open("wb") as file:
        file.write(os.urandom(max(RESERVE_BYTES, 2 * folder.record.stat().st_size)))  # zeros might take no room
        file.flush()
        os.fsync(file.fileno())


def conclude(folder: RunFolder, **changes: Any) -> dict[str, Any]:
    """Write the record for the last time in a training, in the room that was reserved for it, and return it."""
    folder.reserve.unlink(missing_ok=True)
    return update(folder, **changes)


def status(folder: RunFolder, record: dict[str, Any] | None = None) -> str:
    """Return one of STATUSES: what the record says, except that a running run whose process is gone was killed."""
    record = read(folder) if record is None else record
    said = str(record.get("status", "queued"))
    return "killed" if said == "running" and not lock.is_live(folder) else said


def result(folder: RunFolder, record: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the run as `--json` prints it: run, signature, seed, status, folder, steps, metrics."""
    record = read(folder) if record is None else record
    named = SEED.match(folder.path.name)
    return {
        "run": folder.label,
        "signature": record.get("signature"),
        "seed": record.get("seed", int(named["seed"]) if named else None),
        "status": status(folder, record),
        "folder": str(folder.path),
        "steps": record.get("steps", 0),
        "metrics": record.get("metrics") or {},
    }


def _damaged(where: str, why: str) -> str:
    return (
        f"the record {where!r} is damaged: {why}. Restore it from a copy, or set the folder aside by renaming it "
        "(the run then starts again)."
    )
