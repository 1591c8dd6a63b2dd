"""How many long requests a tenant may have open at once: streams, samples, uploads, downloads.

Each holds a connection for as long as it lasts, and a process has so many. Short requests are not
counted: a tenant whose streams are all open can still list and cancel its jobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pando_api.errors import TooManyStreams

#: After how long to try again: a sample takes about that, and streams end at any time.
_RETRY_SECONDS = 5


def streams_within(connections: int, wanted: int) -> int:
    """How many a tenant may have of so many connections: others shall find half of them free."""
    return min(wanted, max(1, connections // 2))


class OpenStreams:
    """Of this process; used on its event loop only."""

    def __init__(self, per_tenant: int):
        self._per_tenant = per_tenant
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_more(self, tenant: str) -> Iterator[None]:
        """Count one for as long as this lasts.

        Raises:
            TooManyStreams: the tenant has as many as it may have.
        """
        if self._open[tenant] >= self._per_tenant:
            raise TooManyStreams(
                f"tenant {tenant} has {self._per_tenant} streams, completions, uploads and "
                "downloads open, as many as an API process lets one tenant have; close some, or "
                "ask the operator for a higher PANDO_STREAMS_PER_TENANT",
                {"Retry-After": str(_RETRY_SECONDS)},
            )
        self._open[tenant] += 1
        try:
            yield
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]
