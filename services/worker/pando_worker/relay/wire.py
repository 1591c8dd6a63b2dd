"""One way for texts, from children to the parent that laid it before it forked."""

from __future__ import annotations

import os
import socket
import zlib
from contextlib import suppress

#: Asked of the kernel, which may give less. A worker's metrics are some 30 kB, and a tenth packed.
_BUFFER_BYTES = 1 << 20


class Wire:
    """A message arrives whole or not at all, whenever its sender is killed; there is no file that
    anybody could leave behind."""

    def __init__(self) -> None:
        self._receives, self._sends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receives.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._sends.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._sends.setblocking(False)

    def send(self, text: str) -> None:
        """From this process.

        Raises:
            BlockingIOError: the parent has not taken the last ones yet.
            OSError: the parent is no more, or the text is too long.
        """
        self._sends.send(os.getpid().to_bytes(8) + zlib.compress(text.encode(), level=1))

    def receive(self) -> tuple[int, str]:
        """The next message and who sent it, by process id; waits for one.

        Raises:
            EOFError: the wire was closed.
        """
        message = self._receives.recv(_BUFFER_BYTES)
        if not message:
            raise EOFError
        return int.from_bytes(message[:8]), zlib.decompress(message[8:]).decode()

    def only_send(self) -> None:
        """In a child: else it would not hear that its parent is no more."""
        self._receives.close()

    def close(self) -> None:
        with suppress(OSError):  # it may be closed
            self._receives.shutdown(socket.SHUT_RDWR)  # wakes who waits for a message
        self._receives.close()
        self._sends.close()
