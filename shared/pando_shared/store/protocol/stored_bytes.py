"""How much tenants keep in storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pando_shared.stored_bytes import Hold, StoredBytes, StoredThing


class StoredBytesStore(Protocol):
    """The part of `Store` that knows how many bytes of whom are in storage."""

    def hold_bytes(
        self, tenant: str, thing: StoredThing, size: int, *, most: int, now: float, until: float
    ) -> Hold:
        """Count `size` bytes for a thing that is being written, in the place of what it counts yet,
        until its record is kept or `until` has passed.

        Not taken, and nothing is counted, if the tenant would then keep more than `most` bytes.
        What records say of files, parts and adapters is counted in the step that writes them.
        """
        ...

    def release_bytes(self, tenant: str, thing: StoredThing) -> None:
        """Count a thing no more: its record will never come."""
        ...

    def stored_bytes(self, tenant: str, now: float) -> StoredBytes:
        """What a tenant keeps in storage, with what is being written."""
        ...

    def recount_bytes(self, tenant: str, measured: Mapping[str, int]) -> bool:
        """Have a tenant's files and adapters count as their records say; whether any did not.

        None can, but that an older release wrote records and counted nothing. Its adapters' records
        know no size either: they get the `measured` one, by name.
        """
        ...
