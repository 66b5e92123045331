"""`notes.json` in a run's folder: the tags and the note that people give a run, whatever state it is in.

A file of its own, for the record belongs to the process that trains the run. Any process may change it: one at a time,
as a whole file.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from shoal import files
from shoal.errors import InputError, StoreError, other_format
from shoal.store.layout import RunFolder

FORMAT = 1
LONGEST_TAG = 50
MOST_TAGS = 100
LONGEST_NOTE = 10_000
LARGEST = 1_000_000
"""Bytes of a file that may be one of notes."""
TAG = re.compile(r"[^\s,+-][^\s,]*")
UNSEEN = re.compile(rf"[\x00-\x08\x0b-\x1f]|{files.UNSEEN.pattern}")


@dataclass(frozen=True)
class Notes:
    """What people said of a run; `tags` are in the order of the alphabet."""

    tags: tuple[str, ...] = ()
    note: str = ""


NONE = Notes()


def of(folder: RunFolder) -> Notes:
    """Return the notes of a run; a file that cannot be read says nothing (`problem` says why)."""
    return parsed(content(folder.notes))


def problem(folder: RunFolder) -> str | None:
    """Return what is wrong with the file of notes, None where nothing is."""
    try:
        _read(folder.notes)
    except StoreError as error:
        return str(error)
    return None


def change(
    folder: RunFolder,
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    note: str | None = None,
    append: bool = False,
) -> Notes:
    """Add tags, remove others, and set the note where one is given, or append it; return what the run has then.

    Raises InputError for a tag or a note that cannot be one, StoreError for a file that is damaged or not writable.
    """
    added, removed = [checked_tag(tag) for tag in add], set(remove)
    try:
        with files.locked(folder.path / "notes.lock"):
            before = parsed(_read(folder.notes))
            tags = tuple(sorted({*before.tags, *added} - removed))
            if len(tags) > MOST_TAGS:
                raise InputError(f"{folder.label} would have {len(tags)} tags: at most {MOST_TAGS} are kept.")
            after = Notes(tags, _noted(before.note, note, append))
            if after != before:
                for left in folder.path.glob(f".{folder.notes.name}.tmp-*"):  # by a process that was killed
                    left.unlink(missing_ok=True)
                facts = {"format": FORMAT, "tags": list(after.tags), "note": after.note}
                files.write_atomic(folder.notes, files.to_json(facts, indent=1) + "\n")
    except OSError as error:
        raise StoreError(f"cannot write {str(folder.notes)!r}: {error.strerror}.") from error
    return after


def _noted(before: str, note: str | None, append: bool) -> str:
    if note is None:
        return before
    return checked_note(f"{before}\n{note}" if append else note)


def checked_tag(tag: str) -> str:
    """Return a tag; raises InputError for what cannot be one.

    >>> checked_tag("good")
    'good'
    """
    if not TAG.fullmatch(tag) or UNSEEN.search(tag) or len(tag) > LONGEST_TAG:
        shown = UNSEEN.sub("?", tag if len(tag) <= LONGEST_TAG else f"{tag[:LONGEST_TAG]}...")
        raise InputError(
            f"{shown!r} cannot be a tag: expected 1 to {LONGEST_TAG} characters without spaces, commas and signs that "
            "cannot be seen, the first not '+' or '-'. A sentence is a note: 'shoal note'."
        )
    return tag


def checked_note(note: str) -> str:
    """Return a note without characters that would act on a terminal; raises InputError for one that is too long."""
    text = UNSEEN.sub("", note.replace("\r\n", "\n")).strip()
    if len(text) > LONGEST_NOTE:
        raise InputError(f"a note has at most {LONGEST_NOTE:,} characters, and this one has {len(text):,}.")
    return text


def content(path: Path) -> dict[str, Any]:
    """Return what is in a file of notes, {} where it is missing or cannot be read."""
    with suppress(StoreError):
        return _read(path)
    return {}


def parsed(known: dict[str, Any]) -> Notes:
    """Return what the content of a file says; values of other types are ignored."""
    if not known:
        return NONE
    tags, note = known.get("tags"), known.get("note")
    found = {tag for tag in cast(list[Any], tags) if isinstance(tag, str)} if isinstance(tags, list) else set[str]()
    return Notes(tuple(sorted(found)), note if isinstance(note, str) else "")


def shown(tags: tuple[str, ...], note: str) -> dict[str, Any]:
    """Return the keys that `--json` has for notes: none where nothing was said."""
    return {**({"tags": list(tags)} if tags else {}), **({"note": note} if note else {})}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            raise StoreError(_damaged(path, "it is no file of this kind"))
        known: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(_damaged(path, f"it is not JSON: {error}")) from error
    if not isinstance(known, dict):
        raise StoreError(_damaged(path, f"it holds {type(known).__name__}, expected an object"))
    written = cast(dict[str, Any], known).get("format")
    if type(written) is not int:
        raise StoreError(_damaged(path, "it does not say its format"))
    if written != FORMAT:
        raise StoreError(f"{str(path)!r} is {other_format(written, FORMAT)}.")
    return cast(dict[str, Any], known)


def _damaged(path: Path, why: str) -> str:
    return f"{str(path)!r} is damaged: {why}. Mend it, or remove it: the tags and the note are lost then."
