"""Messages between a sweep's driver and its workers: JSON, one a line, over a socket that both ends see closed.

Not over stdin and stdout, which belong to whatever a user's code prints.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any, cast

from shoal.files import to_json

Message = dict[str, Any]
BLOCK = 1 << 16


class Channel:
    """One end. Whole messages are sent; what arrives is cut into messages."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._rest = b""

    def fileno(self) -> int:
        """The descriptor, for `selectors`."""
        return self.end.fileno()

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send a message; return whether there is somebody to hear it."""
        try:
            self.end.sendall(to_json(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Wait for the next messages and return them; None where the other end is gone."""
        try:
            block = self.end.recv(BLOCK)
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
        self.end.close()
