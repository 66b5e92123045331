"""What a checkpoint's pickles may do: build plain values and tensors, as `save` does, and nothing else.

torch's own list of what `weights_only=True` lets a pickle call is longer than that, and it has had holes
(CVE-2025-32434, CVE-2026-24747). So the operations are read first, by name, before torch sees the file.
"""

from __future__ import annotations

import re
import zipfile
from io import BytesIO

from shoal.pickled import operations

NAMES = re.compile(
    r"torch\._utils _rebuild_tensor_v[23]|collections OrderedDict|torch [A-Za-z0-9]+Storage|"
    r"torch\.storage UntypedStorage|torch (bool|u?int\d+|b?float\d+(_\w+)?|bits\d+(x\d+)?|complex\d+)"
)
"""A tensor, the hooks that it does not have, the memory that it is in, and its dtype."""
OPERATIONS = frozenset(
    [
        "PROTO",
        "STOP",
        "MARK",
        "BINPUT",
        "LONG_BINPUT",
        "BINGET",
        "LONG_BINGET",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG1",
        "BINFLOAT",
        "BINUNICODE",
        "EMPTY_DICT",
        "SETITEM",
        "SETITEMS",
        "EMPTY_LIST",
        "APPEND",
        "APPENDS",
        "EMPTY_TUPLE",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "BINPERSID",
        "GLOBAL",
        "REDUCE",
    ]
)
"""What pickling plain values and tensors comes to."""


def check_archive(data: bytes) -> None:
    """Raise ValueError for a file that torch would have to trust: one that calls other things, or that is a bomb."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > len(data):
            raise ValueError("compressed: torch stores tensors as they are")
        for member in members:
            if member.filename.lower().endswith(".pkl"):
                check_pickle(archive.read(member))


def check_pickle(content: bytes) -> None:
    r"""Raise ValueError for a pickle that does anything but build plain values and tensors; nothing of it is run.

    >>> check_pickle(b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00lstR.")
    Traceback (most recent call last):
    ValueError: it names os.system, and a checkpoint names tensors only: nothing of it was run
    """
    for name, argument in operations(content):
        if name == "GLOBAL" and not NAMES.fullmatch(argument):
            called = str(argument).replace(" ", ".")
            raise ValueError(f"it names {called}, and a checkpoint names tensors only: nothing of it was run")
        if name not in OPERATIONS:
            raise ValueError(f"it does {name}, which no checkpoint does: nothing of it was run")
