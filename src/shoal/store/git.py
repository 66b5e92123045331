"""What git knows about the source that a run was started from: the commit, and the change that is not committed.

Only asks: the user's index, configuration and hooks are neither changed nor obeyed where they would run a program.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from shoal.store import secrets

TIMEOUT_SECONDS = 20.0
TEXT_BYTES = 1_000_000
"""Untracked files above this size are data, not source."""

DIFF = (
    "diff",
    "--binary",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)
NO_SECRETS = tuple(f":(top,exclude,icase,glob)**/{name}{below}" for name in secrets.FILES for below in ("", "/**"))
"""What `git diff` leaves out, tracked or not."""


def state(cwd: Path) -> dict[str, Any] | None:
    """Return commit, branch and dirty flag of the repository around `cwd`; None where there is none."""
    try:
        commit = _ask(cwd, "rev-parse", "--verify", "--quiet", "HEAD")
        if commit is None:
            return None
        branch = _ask(cwd, "symbolic-ref", "--short", "--quiet", "HEAD")
        changed = _ask(cwd, "status", "--porcelain", "--untracked-files=normal")
    except (OSError, subprocess.SubprocessError):
        return None
    return {
        "commit": commit.decode().strip(),
        "branch": branch.decode(errors="replace").strip() if branch else None,
        "dirty": bool(changed),
    }


def code_patch(cwd: Path, limit_bytes: int = 5_000_000, *, exclude: Sequence[Path] = ()) -> bytes | None:
    """Return what `git apply` needs to get from the commit to the source as it is, untracked text files included.

    None outside git, where nothing differs, and where git fails or takes too long. Bytes, for source need not be UTF-8.
    Where the whole is larger than `limit_bytes` it is the part of the tracked files, or only a line that says so.
    `exclude` names folders that hold no source (the runs). Files named like keys and passwords are left out, and
    what looks like a secret in a line that was added is hidden.
    """
    try:
        top = _ask(cwd, "rev-parse", "--show-toplevel")
        return None if top is None else _patch(_path(top), limit_bytes, exclude)
    except (OSError, subprocess.SubprocessError):
        return None


def _patch(root: Path, limit: int, exclude: Sequence[Path]) -> bytes | None:
    untracked = _untracked(root, exclude)
    whole = _diff(root, untracked, limit)
    if whole is not None:
        return whole or None
    note = f"The change is larger than {limit:,} bytes: "
    tracked = _diff(root, [], limit) if untracked else None
    if tracked is None:
        return f"{note}it was not recorded.\n".encode()
    return f"{note}its {len(untracked):,} untracked files were left out.\n".encode() + tracked


def _diff(root: Path, untracked: Sequence[bytes], limit: int) -> bytes | None:
    """Return the change since the last commit, None where it is larger than `limit`; through a copy of the index."""
    base = "HEAD" if _ask(root, "rev-parse", "--verify", "--quiet", "HEAD") else _empty_tree(root)
    with tempfile.TemporaryDirectory(prefix="shoal-") as scratch, tempfile.TemporaryFile() as output:
        index = root / _path(_ask(root, "rev-parse", "--git-path", "index") or b"index")
        copy = Path(scratch, "index")
        if index.is_file():
            shutil.copy2(index, copy)  # with its time, by which git knows that a file changed in the same instant
        if untracked:
            words = ("add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul")
            _git(root, words, given=b"\0".join(untracked), index=copy)
        if _git(root, (*DIFF, base, "--", *NO_SECRETS), output=output, index=copy).returncode != 0:
            return b""
        if output.seek(0, os.SEEK_END) > limit:
            return None
        output.seek(0)
        return _clean(output.read())


def _clean(patch: bytes) -> bytes:
    """Hide secrets in what was added, which stands nowhere else yet; the patch still applies."""
    found = secrets.pattern()

    def cleaned(line: bytes) -> bytes:
        if not line.startswith(b"+") or line.startswith(b"+++ b/"):
            return line
        return found.sub(secrets.HIDDEN, line.decode(errors="surrogateescape")).encode(errors="surrogateescape")

    return b"\n".join(map(cleaned, patch.split(b"\n")))


def _untracked(root: Path, exclude: Sequence[Path]) -> list[bytes]:
    listed = _ask(root, "ls-files", "--others", "--exclude-standard", "-z") or b""
    left_out = [path.resolve() for path in exclude]
    return [name for name in listed.split(b"\0") if name and _is_source(root, os.fsdecode(name), left_out)]


def _is_source(root: Path, name: str, exclude: Sequence[Path]) -> bool:
    path = root / name
    if _is_secret(name) or any(path.resolve().is_relative_to(folder) for folder in exclude):
        return False
    if path.is_symlink() or not path.is_file() or path.stat().st_size > TEXT_BYTES:
        return False
    with path.open("rb") as file:
        return b"\0" not in file.read(8192)


def _is_secret(name: str) -> bool:
    return any(fnmatchcase(part, each) for part in name.lower().split("/") for each in secrets.FILES)


def _empty_tree(root: Path) -> str:
    return (_ask(root, "hash-object", "-t", "tree", "/dev/null") or b"").decode().strip()


def _path(line: bytes) -> Path:
    return Path(os.fsdecode(line.removesuffix(b"\n")))


def _ask(cwd: Path, *words: str) -> bytes | None:
    """Return what git prints, None where it fails: no git, no repository, no commit."""
    try:
        finished = _git(cwd, words)
    except FileNotFoundError:
        return None
    return finished.stdout if finished.returncode == 0 else None


def _git(
    cwd: Path,
    words: Sequence[str],
    *,
    given: bytes = b"",
    output: int | IO[bytes] = subprocess.PIPE,
    index: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    return subprocess.run(
        ["git", "--no-pager", "-c", "core.fsmonitor=false", *words],
        cwd=cwd,
        input=given,
        stdout=output,
        stderr=subprocess.DEVNULL,
        env=environment,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
