"""What a pickle would do, read without doing it: its operations, one by one.

Nothing is built and nothing is imported here. A reader looks at all operations first, and refuses a pickle that does
what its files never do, before anything unpickles it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import Any

MEMO = ("PUT", "BINPUT", "LONG_BINPUT")


def operations(content: bytes) -> Iterator[tuple[str, Any]]:
    r"""Yield the name and the argument of every operation; raises ValueError for what is no pickle, or a bomb.

    A bomb is a few bytes that would fill the memory: a size that is claimed, a place in the memo that is far away.

    >>> list(operations(b"cos\nsystem\n."))
    [('GLOBAL', 'os system'), ('STOP', None)]
    """
    for count, (operation, argument, _) in enumerate(pickletools.genops(content), 1):
        if operation.name in MEMO and int(argument or 0) > count:
            raise ValueError(f"a memo of {argument:,} entries after {count:,} operations")
        if operation.name == "BYTEARRAY8":
            raise ValueError("a bytearray, whose size is claimed")
        yield operation.name, argument
