"""Messages between a sweep's driver and its workers: JSON, one a line, over a pair of pipes that both ends see closed.

Not over stdin and stdout, which belong to whatever a user's code prints.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

from shoal.files import to_json

Message = dict[str, Any]
BLOCK = 1 << 16


class Channel:
    """One end, of two descriptors. Whole messages are sent; what arrives is cut into messages."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading, self.writing = reading, writing
        self._rest = b""

    def fileno(self) -> int:
        """The descriptor that is read, for `selectors`."""
        return self.reading

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send a message; return whether there is somebody to hear it."""
        left = memoryview(to_json(message).encode() + b"\n")
        try:
            while left:
                left = left[os.write(self.writing, left) :]
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Wait for the next messages and return them; None where the other end is gone."""
        try:
            block = os.read(self.reading, BLOCK)
        except OSError:
            return None
        if not block:
            return None
        *lines, self._rest = (self._rest + block).split(b"\n")
        return [cast(Message, json.loads(line)) for line in lines]

    def messages(self) -> Iterator[Message]:
        """Yield messages until the other end is gone."""
        while (received := self.receive()) is not None:
            yield from received

    def close(self) -> None:
        """Close this end."""
        for handle in (self.reading, self.writing):
            with suppress(OSError):
                os.close(handle)


def pair() -> tuple[Channel, Channel]:
    """Return two ends that are connected."""
    (first, second), (third, fourth) = os.pipe(), os.pipe()
    return Channel(first, fourth), Channel(third, second)
