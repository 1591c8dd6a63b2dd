"""Whether a client still takes its answer."""

from __future__ import annotations

import socket

from pando_shared.settings import KIB

#: Of an answer's bytes that have not been sent, so many lie in the system; it would take megabytes
#: of each client that does not read, and tell nothing while a slow one reads those.
_UNSENT_BYTES = 64 * KIB


def bound_unsent(sock: socket.socket) -> None:
    """Keep what is not sent yet here, where it is seen to move."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)


class UnreadAnswer:
    """Looked at from time to time. Stalled is what lies there at one look, and all of it still at
    the next; where there is nothing to send, nothing stalls."""

    def __init__(self) -> None:
        self._unsent = 0

    def moved(self) -> None:
        """Something was taken since the last look, or what lies there is another answer's."""
        self._unsent = 0

    def has_stalled(self, unsent: int, *, may_grow: bool) -> bool:
        """`unsent` bytes lie there now. While they may grow, that they are no fewer tells nothing:
        but not without bound, for beyond a limit whoever writes has to wait."""
        stalled = not may_grow and 0 < self._unsent <= unsent
        self._unsent = 0 if may_grow else unsent
        return stalled
