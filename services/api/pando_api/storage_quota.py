"""How much a tenant may keep in storage: the policy's `max_storage`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from pando_api.errors import StorageQuotaExceeded
from pando_shared.clock import Clock
from pando_shared.errors import Unavailable
from pando_shared.human_size import human_size
from pando_shared.policy_file import PolicyFile
from pando_shared.store import StoredBytesStore
from pando_shared.stored_bytes import StoredBytes, StoredThing

#: What a request that died has held counts no more this long after its last write.
HOLD_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class StorageQuota:
    """Counts lie in the store, so that a limit holds over all API processes together."""

    policies: PolicyFile
    store: StoredBytesStore
    clock: Clock

    def require_room(self, tenant: str, wanted: int) -> None:
        """Refuse so many bytes more where they are known beforehand, before they are sent.

        Raises:
            StorageQuotaExceeded: the tenant would keep more than it may.
        """
        most = self.most(tenant)
        if most is None:
            return
        stored = self.store.stored_bytes(tenant, self.clock.now())
        if stored.total + wanted > most:
            raise _exceeded(tenant, stored, most)

    def hold(self, tenant: str, thing: StoredThing) -> StorageHold:
        """For a thing that comes in, with no record yet."""
        return StorageHold(self, tenant, thing)

    def most(self, tenant: str) -> int | None:
        """Bytes; None: there is no limit."""
        return self.policies.current().tenant(tenant).max_storage_bytes


class StorageHold:
    """Bytes that are counted before they are written, so that writers at once share what is left.

    The record takes the hold's place. Of a request that died with its process, the hold ends by
    itself after `HOLD_SECONDS`.
    """

    def __init__(self, quota: StorageQuota, tenant: str, thing: StoredThing):
        self._quota = quota
        self._tenant = tenant
        self._thing = thing

    def cover(self, size: int) -> None:
        """Count the thing as `size` bytes; to be called before so many of it are written.

        Raises:
            StorageQuotaExceeded: the tenant would keep more than it may.
        """
        most = self._quota.most(self._tenant)
        if most is None:
            return
        now = self._quota.clock.now()
        held = self._quota.store.hold_bytes(
            self._tenant, self._thing, size, most=most, now=now, until=now + HOLD_SECONDS
        )
        if not held.taken:
            raise _exceeded(self._tenant, held.stored, most)

    def release(self) -> None:
        """The thing will not come. Where the store does not answer, the hold ends by itself."""
        with suppress(Unavailable):
            self._quota.store.release_bytes(self._tenant, self._thing)


def _exceeded(tenant: str, stored: StoredBytes, most: int) -> StorageQuotaExceeded:
    kinds = (("files", stored.files), ("uploads", stored.uploads), ("adapters", stored.adapters))
    of = ", ".join(f"{human_size(size)} of {kind}" for kind, size in kinds if size)
    return StorageQuotaExceeded(
        f"tenant {tenant} keeps {human_size(stored.total)}{of and f' ({of})'} and may keep "
        f"{human_size(most)}, which this would exceed; delete files or adapters you no longer "
        "need, cancel uploads, or ask the operator for a higher max_storage"
    )
