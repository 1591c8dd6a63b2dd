"""Webhooks: who is told of what, how it is signed, and when it is tried again.

Signatures and the schedule are those of Standard Webhooks (https://www.standardwebhooks.com), which
OpenAI's clients verify.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pando_shared.ids import new_id
from pando_shared.jobs import Job, JobState

#: What ends a job, in OpenAI's words.
_EVENT_OF = {
    JobState.SUCCEEDED: "fine_tuning.job.succeeded",
    JobState.FAILED: "fine_tuning.job.failed",
    JobState.CANCELLED: "fine_tuning.job.cancelled",
}
EVENT_TYPES = tuple(_EVENT_OF.values())
#: How many endpoints a tenant may have.
MAX_ENDPOINTS = 20
#: How long the secret before a rotation still signs too, if it is asked to.
GRACE_SECONDS = 24 * 3600
#: The pauses after each attempt that failed; the last one was the last.
_PAUSES = tuple(hours * 3600 for hours in (5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24))
#: Pauses are up to this share longer, so that what failed together does not come back together.
_JITTER = 0.2
#: An endpoint that has taken nothing for so long, with everything tried, is not written to again.
DISABLE_AFTER_SECONDS = 3 * 86_400
_PREFIX = "whsec_"


def new_secret() -> str:
    """192 bits, as `whsec_` and base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where a tenant wants to be told. Every method is a decision, without effects.

    The secrets are here as they are, for they must sign: whoever can read the store or storage
    could forge what Pando says to this endpoint, and no more.
    """

    id: str
    tenant: str
    name: str
    url: str
    event_types: tuple[str, ...]
    created_at: float
    updated_at: float
    secret: str = field(repr=False)
    old_secret: str | None = field(default=None, repr=False)
    old_secret_until: float = 0.0
    #: Since when every delivery has failed, and what the newest failure was; None: all is well.
    failing_since: float | None = None
    last_error: str | None = None
    #: When it was given up, or said itself (410) that it wants no more.
    disabled_at: float | None = None

    def wants(self, event_type: str) -> bool:
        return self.disabled_at is None and event_type in self.event_types

    def rotated(self, secret: str, now: float, *, keep_old: bool) -> WebhookEndpoint:
        """With another secret; the present one signs on for a day, or not at all."""
        return replace(
            self,
            secret=secret,
            old_secret=self.secret if keep_old else None,
            old_secret_until=now + GRACE_SECONDS if keep_old else 0.0,
            updated_at=now,
        )

    def secrets(self, now: float) -> list[str]:
        """Those that sign now, the newest first."""
        old = [self.old_secret] if self.old_secret and now < self.old_secret_until else []
        return [self.secret, *old]

    def succeeded(self) -> WebhookEndpoint:
        """It has taken something."""
        return replace(self, failing_since=None, last_error=None)

    def failed(self, error: str, now: float, *, gone: bool, was_last: bool) -> WebhookEndpoint:
        """It has not taken something, which `was_last` tried for the last time; `gone`: it said
        that it wants nothing more."""
        since = now if self.failing_since is None else self.failing_since
        hopeless = was_last and now - since >= DISABLE_AFTER_SECONDS
        disabled_at = now if gone or hopeless else self.disabled_at
        return replace(self, failing_since=since, last_error=error, disabled_at=disabled_at)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint. `id` stays the same however often it is tried, so that
    a receiver can tell a repetition."""

    id: str
    tenant: str
    endpoint_id: str
    event_type: str
    job_id: str
    created_at: float
    attempts: int = 0
    #: The job's.
    traceparent: str | None = None

    @property
    def body(self) -> bytes:
        """OpenAI's event object."""
        event = {
            "id": self.id,
            "object": "event",
            "created_at": int(self.created_at),
            "type": self.event_type,
            "data": {"id": self.job_id},
        }
        return json.dumps(event, separators=(",", ":")).encode()

    def tried(self) -> Delivery:
        return replace(self, attempts=self.attempts + 1)


def deliveries_of(job: Job, endpoints: Iterable[WebhookEndpoint]) -> list[Delivery]:
    """What is to be sent now that a job has come into its present state."""
    event_type = _EVENT_OF.get(job.state)
    if event_type is None:
        return []
    at = job.created_at if job.finished_at is None else job.finished_at
    return [
        Delivery(
            new_id("evt", "_"),
            job.spec.tenant,
            endpoint.id,
            event_type,
            job.id,
            at,
            traceparent=job.traceparent,
        )
        for endpoint in endpoints
        if endpoint.wants(event_type)
    ]


def pause_after(attempts: int, draw: float) -> float | None:
    """Seconds until a delivery that failed `attempts` times is tried again; None: never.

    `draw` in [0, 1) spreads what failed together.
    """
    if attempts > len(_PAUSES):
        return None
    return _PAUSES[attempts - 1] * (1 + _JITTER * draw)


def signature_headers(
    secrets: Iterable[str], webhook_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The three headers by which a receiver knows who wrote `body`, and when."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    signatures = [
        base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()
        for secret in secrets
    ]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_PREFIX))
