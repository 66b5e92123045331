"""What looks like a secret, and is not recorded: by the name of a key, by its own look, by being in the environment.

Of what is recorded about a run, the command that started it and the change to its source go through here. The name of
a run is refused instead where it looks like one; other values of a recipe stand as they were given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from shoal.errors import InputError

HIDDEN = "***"

WORDS = (
    r"(?:pass(?:phrase)?|\w*passw(?:or)?d|secrets?|token|api[-_]?key|(?:access|secret|private)[-_]?key|"
    r"credentials?|auth)"
)
KEY = re.compile(rf"(?i)(?:^|[-_.]){WORDS}$")
"""The name of a key whose value is a secret."""
PAIR = re.compile(rf"(?i)(?<![A-Za-z0-9])({WORDS})=[^\s&]+")
LOOK = r"(?:(?:sk|hf|ghp|gho|github_pat|glpat|xox[abp])[-_]%s|AKIA[A-Z0-9]{16})"
"""A secret by its own look: the keys of services begin in ways of their own."""
IN_A_WORD, IN_SOURCE = (rf"\b{LOOK % f'[A-Za-z0-9_-]{{{length},}}'}" for length in (8, 20))
"""In a line of source, what is shorter may be the name of something."""
IN_A_NAME = rf"(?<![A-Za-z0-9]){LOOK % '(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]*[A-Za-z0-9]{16,}'}"
"""In the name of a run, what has no sixteen letters and digits on end, or no digit, is words: `hf_large_batch_128`."""
USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
SHORTEST = 8
"""Shorter values of the environment are words, too, and are left alone."""

FILES = (
    ".env*",
    ".netrc",
    "credentials*",
    ".credentials*",
    *(f"id_{kind}*" for kind in ("rsa", "dsa", "ecdsa", "ed25519")),
    *(f"*.{ending}" for ending in ("pem", "key", "p12", "pfx")),
)
"""Files and folders that hold secrets, by their names in small letters."""


def pattern(look: str = IN_SOURCE, environment: Mapping[str, str] = os.environ) -> re.Pattern[str]:
    """Return what finds secrets in a text: those of a `look`, and those that are values of the environment.

    >>> pattern(environment={"HUB_TOKEN": "s3cr3t-value"}).sub(HIDDEN, "key = 's3cr3t-value'")
    "key = '***'"
    """
    known = {value for name, value in environment.items() if len(value) >= SHORTEST and KEY.search(name)}
    return re.compile("|".join([look, *map(re.escape, sorted(known, key=len, reverse=True))]))


def refuse_secret(name: str) -> None:
    """Raise InputError where the name of a run looks like a secret; the message does not repeat it.

    >>> refuse_secret("hf_large_batch_128")
    """
    if pattern(IN_A_NAME).search(name):
        raise InputError(
            "name: it looks like a token or a password, or is one of the environment, and the name of a run stands in "
            "clear in its folder, its record and its pages. Choose another, for example name=my-run."
        )


def word_without_secrets(word: str) -> str:
    """Return a word of a command line with `***` in place of secrets, of values after `token=` too, and of passwords.

    >>> word_without_secrets("https://me:pw@host/x?token=abc&y=1")
    'https://***@host/x?token=***&y=1'
    """
    return USERINFO.sub(f"{HIDDEN}@", PAIR.sub(rf"\1={HIDDEN}", pattern(IN_A_WORD).sub(HIDDEN, word)))
