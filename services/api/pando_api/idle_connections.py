"""Which connections may go when there is no room for another.

Whoever opens connections needs no key for it, and behind a proxy all come from one address. So it
is not counted who opens them: those where nothing is asked make room for those where something is.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Connection = TypeVar("Connection")


class IdleConnections(Generic[Connection]):
    """In the order in which they go: first those that have never asked anything, then those between
    two requests; of each the one that has waited longest."""

    def __init__(self) -> None:
        self._new: dict[Connection, None] = {}
        self._served: dict[Connection, None] = {}

    def add_new(self, connection: Connection) -> None:
        self._new[connection] = None

    def add_served(self, connection: Connection) -> None:
        self._served[connection] = None

    def remove(self, connection: Connection) -> None:
        """It asks something, or is gone."""
        self._new.pop(connection, None)
        self._served.pop(connection, None)

    def take_first(self) -> Connection | None:
        """Remove and return the one that may go first; None: on all of them something is asked."""
        for connections in (self._new, self._served):
            for connection in connections:
                self.remove(connection)
                return connection
        return None
