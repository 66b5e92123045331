"""Where a run came from: machine, versions, command and source, as far as they can be found out without an import.

Nothing here fails a training: what cannot be found out is left out. What looks like a secret is hidden.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from shoal.store import git
from shoal.store.git import code_patch
from shoal.store.secrets import HIDDEN, KEY, word_without_secrets

__all__ = ["code_patch", "collect", "command"]

PACKAGES = ("shoal", "torch", "numpy", "pydantic")


def collect(argv: Sequence[str], cwd: Path) -> dict[str, Any]:
    """Return host, Python, platform, versions of packages, the command, and git's commit, branch and dirty flag."""
    return {
        "host": os.uname().nodename,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "command": command(argv),
        "git": git.state(cwd),
    }


def command(argv: Sequence[str]) -> str:
    """Return the words as one line for a shell, with `***` in place of what looks like a secret.

    >>> command(["/usr/bin/shoal", "train", "digits", "--token", "abc", "log.api_key=xyz"])
    "shoal train digits --token '***' 'log.api_key=***'"
    """
    if not argv:
        return ""
    program = Path(argv[0])
    if program.name == "__main__.py":
        start = ["python", "-m", program.parent.name]
    elif program.suffix == ".py":
        start = ["python", word_without_secrets(argv[0])]
    else:
        start = [program.name]
    return shlex.join([*start, *_without_secrets(argv[1:])])


def _without_secrets(words: Sequence[str]) -> list[str]:
    clean: list[str] = []
    value_follows = False
    for word in words:
        key, equals, value = word.partition("=")
        secret = KEY.search(key) is not None
        if value_follows and not word.startswith("-"):
            clean.append(HIDDEN)
        elif secret and equals and value:
            clean.append(f"{key}={HIDDEN}")
        else:
            clean.append(word_without_secrets(word))
        value_follows = secret and word.startswith("-") and not equals
    return clean


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
