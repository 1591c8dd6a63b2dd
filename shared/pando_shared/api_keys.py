"""Making and hashing API keys."""

import hashlib
import secrets

from pando_shared.ids import new_id
from pando_shared.records import ApiKey, KeyScope


def digest(secret: str) -> str:
    """SHA-256 of a key. Keys hold 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_api_key(
    tenant: str,
    name: str,
    now: float,
    *,
    scope: KeyScope = "user",
    expires_at: float | None = None,
) -> tuple[str, ApiKey]:
    """A fresh secret, shown once, and the record to keep."""
    secret = f"sk-pando-{secrets.token_urlsafe(32)}"
    record = ApiKey(
        new_id("key"),
        tenant,
        name,
        digest(secret),
        secret[:13],
        now,
        scope=scope,
        expires_at=expires_at,
    )
    return secret, record
