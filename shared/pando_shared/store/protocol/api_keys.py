"""The keys that open the API, by digest."""

from __future__ import annotations

from typing import Protocol

from pando_shared.records import ApiKey


class ApiKeyStore(Protocol):
    """The part of `Store` that knows API keys."""

    def put_key(self, key: ApiKey) -> None: ...

    def find_key(self, digest: str) -> ApiKey | None:
        """The key of this digest, if there is one and it is not revoked."""
        ...

    def list_keys(self) -> list[ApiKey]: ...
