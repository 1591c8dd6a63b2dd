"""The smaller things the store keeps: files, models, events, checkpoints, keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class FileRecord:
    """An uploaded (or produced) file; its bytes lie in storage at `layout.file_content(id)`.

    `sha256` is theirs, in hexadecimal, where the request that made it may be compared with another.
    """

    id: str
    tenant: str
    filename: str
    purpose: str
    bytes: int
    created_at: float
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A trained adapter a tenant can use: `ft:BASE:TENANT:SUFFIX:ID` or one of its checkpoints.

    `path` is its export folder in storage, `bytes` what lies in that.
    """

    name: str
    tenant: str
    base_model: str
    job_id: str
    method: str
    path: str
    created_at: float
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a job's history. `seq` counts from 0 within the job; the store assigns it."""

    created_at: float
    message: str
    level: Literal["info", "warn", "error"] = "info"
    type: Literal["message", "metrics"] = "message"
    data: Mapping[str, float | int | str | None] = field(default_factory=dict)
    seq: int = -1


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A named checkpoint that a user may sample from and download."""

    id: str
    job_id: str
    model: str
    step: int
    created_at: float
    metrics: Mapping[str, float] = field(default_factory=dict)


#: What a key may do: `read-only` only looks, `user` does all for its tenant, `admin` manages the
#: site's keys besides.
KeyScope = Literal["admin", "user", "read-only"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key at rest: `digest` is all that is kept of the secret; `hint` its first characters."""

    id: str
    tenant: str
    name: str
    digest: str
    hint: str
    created_at: float
    revoked_at: float | None = None
    scope: KeyScope = "user"
    expires_at: float | None = None

    def works_at(self, now: float) -> bool:
        """Whether it is neither revoked nor past its time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
