"""How many wrong API keys an address may try in a minute, over all API processes together."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from fastapi import Request

from pando_api.errors import TooManyFailedLogins
from pando_api.metrics import Metrics
from pando_shared.clock import Clock
from pando_shared.errors import PandoError, Unauthorized, Unavailable
from pando_shared.store import RequestBucketStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FailedLogins:
    """Only keys that are wrong are counted and slowed down: behind one address there may be many
    users, and a good key works from wherever wrong ones come. So a key is always looked up first,
    and how long that takes does not tell whether the address has any tries left."""

    store: RequestBucketStore
    clock: Clock
    metrics: Metrics
    #: 0: any number.
    per_minute: int

    def refusal(self, request: Request, reason: str) -> PandoError:
        """What to answer to a wrong key: the reason, or how long to wait with the next one."""
        address = address_of(request)
        wait_seconds = self._wait_seconds(address)
        outcome = "refused" if wait_seconds is None else "limited"
        self.metrics.failed_logins.labels(outcome).inc()
        if wait_seconds is None:
            return Unauthorized(reason)
        return TooManyFailedLogins(
            f"more than {self.per_minute} wrong API keys a minute came from {address}; wait "
            f"{wait_seconds} s with the next one, or send a good one, which works at once",
            {"Retry-After": str(wait_seconds)},
        )

    def _wait_seconds(self, address: str) -> int | None:
        if not self.per_minute:
            return None
        try:
            took = self.store.take_failed_login(address, self.per_minute, self.clock.now())
        except Unavailable:
            # Without a count nobody is held up; without the store no key is found either.
            return None
        if not took.taken:
            return max(1, math.ceil((1 - took.left) * 60 / self.per_minute))
        if took.left < 1:
            log.warning(
                "%d wrong API keys a minute from %s: further wrong ones get a 429",
                self.per_minute,
                address,
                extra={"fields": {"address": address}},
            )
        return None


def address_of(request: Request) -> str:
    """Whose tries are counted together: an IPv4 address, or an IPv6 network of 64 bits, of which
    anyone has all addresses. Behind a proxy that PANDO_TRUSTED_PROXIES names, it is the client's.
    """
    host = "unknown" if request.client is None else request.client.host
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"
