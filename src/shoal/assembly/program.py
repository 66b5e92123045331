"""The program that opens a run: its name, which is part of identity, and the source that it had then.

The name is that of the module, or of the script that was started. Source is recorded and not identified: an edit
would begin every run anew. Of the module that opens the run alone; what it imports has its state in git, if anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from shoal.errors import InputError, StoreError
from shoal.files import safe_name
from shoal.store import RunFolder, record

MAIN = ("__main__", "__mp_main__")


@dataclass(frozen=True)
class Program:
    """What opened a run; `file` and `source` (a digest) are None where there is no file."""

    name: str
    file: str | None
    source: str | None
    said: bool
    """Whether a person gave the name, and so answers for it."""

    def plain(self) -> dict[str, Any]:
        """Return what is recorded."""
        return {"name": self.name, "file": self.file, "source": self.source}

    def check(self, recorded: Mapping[str, Any]) -> None:
        """Raise InputError where a run was made by another program that happens to have this name."""
        moved = recorded.get("file") not in (None, self.file)
        if moved and self.file is not None and recorded.get("source") != self.source and not self.said:
            raise InputError(
                f"{self.file} is not the program that made this run, {recorded.get('file')}: both are called "
                f"{self.name}. Give each a name of its own, open_run(config, program='...'); if it is the same one, "
                f"moved and edited, say so with program={self.name!r}."
            )

    def change(self, recorded: Mapping[str, Any]) -> str | None:
        """Return a sentence where the source is not what it was when the run was last opened."""
        before = recorded.get("source")
        if before is None or before == self.source:
            return None
        file = Path(self.file).name if self.file else self.name
        return f"the source of {file} changed since this run was last trained: what was trained before stays in it."


def refuse_program(folder: RunFolder) -> None:
    """Raise StoreError for a run that a program made by hand: no model, data or task can be built from its config."""
    made: Mapping[str, Any] | None = record.read(folder).get("program")
    if made:
        where = f" ({made['file']})" if made.get("file") else ""
        raise StoreError(
            f"{folder.label} was made by open_run in the program {made.get('name')}{where}: its recipe is that "
            "program's config, from which Shoal can build no model and no data. That program can: let it open the run "
            f"again. In Python, shoal.load({str(folder.path)!r}).states() has the states that it registered."
        )


def calling(frame: FrameType | None, name: str | None) -> Program:
    """Return the program that a frame is of; raises InputError where it has no name and is given none."""
    module: dict[str, Any] = frame.f_globals if frame is not None else {}
    file = module.get("__file__")
    path = Path(file).resolve() if file else None
    source = None
    if path is not None and path.is_file():
        source = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    found = name or _named(module, path)
    if found is None:
        raise InputError(
            "open_run: what is typed into a notebook or a pipe has no name, and a run is identified by its program: "
            "open_run(config, program='gan')."
        )
    return Program(safe_name(found, "program"), str(path) if path and source else None, source, name is not None)


def _named(module: Mapping[str, Any], path: Path | None) -> str | None:
    """The name of a module; of one that was started, what `python -m` was told, or the file without its ending."""
    spec = module.get("__spec__")
    name = getattr(spec, "name", None) if module.get("__name__") in MAIN else module.get("__name__")
    if name is None:
        return path.stem if path is not None else None
    return str(name).removesuffix(".__main__")
