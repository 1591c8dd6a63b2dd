"""How often tenants may still ask, and strangers still try keys."""

from __future__ import annotations

from typing import Protocol

from pando_shared.store.values import Taken


class RequestBucketStore(Protocol):
    """The part of `Store` that knows how many requests are left to whom."""

    def take_request(self, tenant: str, per_minute: int, now: float) -> Taken:
        """Take one of the requests that a tenant has left, if there is one.

        They come back evenly, `per_minute` a minute, and as many are kept at most.
        """
        ...

    def requests_left(self, tenant: str, per_minute: int, now: float) -> float:
        """How many requests a tenant could make now, in fractions; takes none."""
        ...

    def take_failed_login(self, address: str, per_minute: int, now: float) -> Taken:
        """Take one of the wrong keys that an address may still try; as `take_request`.

        Addresses share counts where there are very many, so that these stay few.
        """
        ...
