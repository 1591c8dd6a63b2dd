"""What a supervised process is, before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Tier(IntEnum):
    """Lower tiers start first and stop last."""

    REDIS = 0
    SERVICE = 1
    WORKER = 2


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """`environment` is added to the supervisor's own. The log is `logs/<name>.log`.

    `metrics_url` is where Prometheus finds the service, if it tells anything.
    """

    name: str
    command: tuple[str, ...]
    tier: Tier
    environment: Mapping[str, str] = field(default_factory=dict)
    metrics_url: str | None = None
